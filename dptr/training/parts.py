"""What ``dptr.training.resolve`` returns: a complete recipe, and the models that the training starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from dptr.config.base import Config
from dptr.dual.base import DualEncoder
from dptr.dual.glyph.model import GlyphDual
from dptr.models.checkpoint import Checkpoint, Loaded, open_checkpoint
from dptr.models.encoders.ppocr_weights import Head
from dptr.text.charset import Charset
from dptr.training.distillation import Teacher
from dptr.weights import model_file

R = TypeVar("R", bound=Config)
P = TypeVar("P")


@dataclass(frozen=True)
class Resolved(Generic[R, P]):
    """What a training command works with.

    Attributes:
        recipe: complete: with the settings of the parts that it starts from.
        charset: what is written with.
        parts: what was opened for it.
    """

    recipe: R
    charset: Charset
    parts: P


@dataclass(frozen=True)
class AlignParts:
    """Of ``dptr align``: where the encoder and the co-trained decoder start; None = fresh."""

    glyph: GlyphDual | None
    decoder: Checkpoint | None


@dataclass(frozen=True)
class PretrainParts:
    """Of ``dptr pretrain``: the dual encoder whose text tokens are spelled."""

    dual: DualEncoder


@dataclass(frozen=True)
class FinetuneParts:
    """Of ``dptr finetune``: where the recognizer starts, and what it learns from beside labels; None = fresh, nothing.

    Attributes:
        model: a whole recognizer; then ``decoder``, ``glyph``, and ``encoder`` are None.
        decoder: a stage 1 checkpoint, or any recognizer.
        glyph: image encoder and FMU.
        encoder: weights of an image encoder alone: of a dual encoder's image tower, or of ``init.encoder``.
        head: for CTC over image tokens; other decoders do not use it. That of ``init.encoder``; beside a ``model`` with
            that encoder, the installed one, for characters that the model lacks.
        teacher: for distillation.
    """

    model: Checkpoint | None
    decoder: Checkpoint | None
    glyph: GlyphDual | None
    encoder: dict[str, Tensor] | None
    head: Head | None
    teacher: Teacher | None

    @property
    def dual(self) -> dict[str, Any]:
        """Which dual encoder taught the decoder; empty where none did."""
        origin = self.model or self.decoder
        return origin.dual if origin else {}


@dataclass(frozen=True)
class AdaptParts:
    """Of ``dptr adapt``: the recognizer, and which dual encoder taught it."""

    recognizer: Loaded
    dual: dict[str, Any]


class Opener:
    """Checkpoint folders, each read once however many keys name it."""

    def __init__(self) -> None:
        self._held: dict[Path, Checkpoint] = {}

    def __call__(self, model: str) -> Checkpoint | None:
        """None where ``model`` is empty."""
        if not model:
            return None
        path = model_file(model, "config.json").resolve()
        if path not in self._held:
            self._held[path] = open_checkpoint(model)
        return self._held[path]
