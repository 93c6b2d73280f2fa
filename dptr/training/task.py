"""The interface between a training command and the trainer: batches, objective, validation, and saving."""

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
    """Scores of one model, or of one variant of its weights.

    Attributes:
        scores: logged as ``validation_NAME``, and compared by ``Task.is_better``.
        message: for people; if it is empty, neither message nor scores are logged.
        model: which of several models that are kept, each with its own best state; empty for the main one.
        variant: appended to the names in the log.
    """

    scores: Scores
    message: str
    model: str = ""
    variant: str = ""


class Task(ABC):
    """A training command's part of a run; ``dptr.training.trainer`` has the loop.

    Attributes:
        objective: its forward takes ``tensors`` and a generator, and returns losses by name: ``loss`` is minimized,
            the others are logged.
        parts: modules, each with the factor on its learning rate; together all trainable parameters of ``objective``.
        unit: of the speed, per second: words, crops.
        splittable: whether ``loss`` is a mean over ``term_count`` terms, so that a batch may be computed in parts.
        validate_first: validate before the first step too; that state is a candidate for the best.
        patience: training ends after this many validations in a row without a better state; 0 = never.
        clipped_apart: modules whose gradients are clipped by their own norms; empty = clip the whole gradient.
        capturable: whether a step can be a CUDA graph (``dptr.training.cuda_graph``).
        data: digests of the labeled crops, by role, as in ``Progress.data``; empty = none.
        origins: digests, by role, of what the recipe names and the weights depend on throughout: the charset, frozen
            models. A run does not resume with others.
        capture_lock: held during the capture of the CUDA graph, when no other thread may use the GPU.
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
    origins: Mapping[str, str] = {}

    @abstractmethod
    def batches(self, first: int, last: int, share: Share) -> Generator[Any, None, None]:
        """Batches of the steps ``first`` to ``last - 1``; each is a pure function of its step."""

    @abstractmethod
    def tensors(
        self, batch: Any, step: int, generator: torch.Generator, share: Share
    ) -> tuple[dict[str, Tensor], list[str]]:
        """The arguments of ``objective`` for a batch, with one row per sample, and its words, for error reports.

        ``generator`` is seeded by the step; the objective draws from it afterwards.
        """

    def term_count(self, tensors: Mapping[str, Tensor]) -> float:
        """How many terms ``loss`` averages over, by which parts of a batch and processes are weighted."""
        return 1.0

    @abstractmethod
    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        """Score the present weights; called in eval mode, without gradients, and with the EMA's weights if EMA is on.

        The trainer may call ``save`` between two yields.

        Args:
            baseline: the first scores of the run, by model; empty at the first validation.
        """

    @abstractmethod
    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        """Whether a state with ``scores`` replaces the best one so far; ``best`` is empty if there is none."""

    def score_saved(self, model: str, out: Path) -> Validation | None:
        """Score a model that ``save`` wrote on validation crops that have changed; called like ``validate``.

        Tasks with ``data["validation"]`` implement it. The present weights are the same afterwards.

        Returns:
            None: the model is not kept any more.

        Raises:
            UserError: the model cannot be opened.
        """
        raise NotImplementedError

    @abstractmethod
    def save(self, validation: Validation, step: int, out: Path) -> None:
        """Write the weights that were just validated; called in the main process only."""
