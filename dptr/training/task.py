"""What a training command brings to the trainer: data, a loss, validation, and what to write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dptr.training.optimizer import Parts

Scores = dict[str, float]


@dataclass(frozen=True)
class Share:
    """Which part of each batch this process computes: the ``rank``-th of ``processes``."""

    rank: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Validation:
    """One model, or one variant of it, judged.

    Attributes:
        scores: logged as ``validation_NAME``; what ``Task.is_better`` compares.
        message: for people; empty = neither said nor logged.
        model: of several models that train together, which one; each has a best state of its own.
        variant: appended to the names in the log.
    """

    scores: Scores
    message: str
    model: str = ""
    variant: str = ""


class Task(ABC):
    """A training, as ``dptr.training.trainer`` drives it.

    Attributes:
        objective: its forward takes ``tensors`` and a generator, and returns losses by name: ``loss`` is trained on,
            the others are logged.
        parts: modules and the factor on the learning rate of each; together all trainable parameters of ``objective``.
        unit: what is counted a second: words, crops.
        splittable: whether ``loss`` is a mean over ``term_count`` terms, so that a batch may be computed in parts.
        validate_first: judge the state before the first step too; it counts.
        patience: validations in a row without a better state, after which training ends; 0 = never.
        clipped_apart: modules whose gradients are clipped each by its own norm; empty = the objective's as a whole.
        capturable: whether steps can be a CUDA graph (``dptr.training.cuda_graph``).
        data: what labeled crops it learns from and is judged on, by role, as ``Progress.data`` tells; empty = none.
        capture_lock: held while that is captured, in which no other thread may use the GPU.
    """

    objective: nn.Module
    parts: Parts
    unit: str
    splittable: bool = False
    validate_first: bool = False
    patience: int = 0
    clipped_apart: Sequence[nn.Module] = ()
    capturable: bool = False
    capture_lock: AbstractContextManager = nullcontext()
    data: Mapping[str, str] = {}

    @abstractmethod
    def batches(self, first: int, last: int, share: Share) -> Generator[Any, None, None]:
        """What each step from ``first`` to ``last - 1`` trains on; a pure function of the step."""

    @abstractmethod
    def tensors(
        self, batch: Any, step: int, generator: torch.Generator, share: Share
    ) -> tuple[dict[str, Tensor], list[str]]:
        """A batch as arguments of ``objective`` on its device, a row a sample, and the words, for error reports.

        ``generator`` is seeded by the step; the objective draws from it afterwards.
        """

    def term_count(self, tensors: Mapping[str, Tensor]) -> float:
        """How many terms ``loss`` is the mean of, so that means over parts and processes can be put together."""
        return 1.0

    @abstractmethod
    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        """Judge the state; called in eval mode, without gradients, with the EMA's weights where EMA is on.

        Between two yields the trainer may call ``save``.

        Args:
            baseline: of each model the first scores of the run; empty at the first validation.
        """

    @abstractmethod
    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        """Whether a state replaces the best one before; ``best`` is empty at first."""

    @abstractmethod
    def save(self, validation: Validation, step: int, out: Path) -> None:
        """Write the state just judged; only the main process is asked to."""
