"""Results of ``dptr.training.resolve``: a complete recipe, and the models that training starts from."""

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
    """The input of a training command.

    Attributes:
        recipe: complete, with the settings of the parts that it starts from.
        charset: of the network's classes.
        parts: the opened models.
    """

    recipe: R
    charset: Charset
    parts: P


@dataclass(frozen=True)
class AlignParts:
    """The initial encoder and co-trained decoder of ``dptr align``; None = fresh weights."""

    glyph: GlyphDual | None
    decoder: Checkpoint | None


@dataclass(frozen=True)
class PretrainParts:
    """The dual encoder of ``dptr pretrain``, whose text tokens the decoder spells."""

    dual: DualEncoder


@dataclass(frozen=True)
class FinetuneParts:
    """The initial parts of ``dptr finetune`` (None = fresh weights), and its teacher (None = no distillation).

    Attributes:
        model: a whole recognizer; then ``decoder``, ``glyph``, and ``encoder`` are None.
        decoder: a stage 1 checkpoint, or a recognizer whose decoder is used.
        glyph: for image encoder and FMU.
        encoder: weights of an image encoder: of the image tower of ``clip-vision``, or of ``init.encoder``.
        head: of ``init.encoder``, for CTC over image tokens only. With a ``model`` that has PP-OCRv6's encoder, the
            installed head, for characters that the model lacks.
        teacher: of distillation.
    """

    model: Checkpoint | None
    decoder: Checkpoint | None
    glyph: GlyphDual | None
    encoder: dict[str, Tensor] | None
    head: Head | None
    teacher: Teacher | None

    @property
    def dual(self) -> dict[str, Any]:
        """The dual encoder that stage 1 used, as in checkpoints; empty if there was no stage 1."""
        origin = self.model or self.decoder
        return origin.dual if origin else {}


@dataclass(frozen=True)
class AdaptParts:
    """The recognizer that ``dptr adapt`` starts from, and the dual encoder that its stage 1 used."""

    recognizer: Loaded
    dual: dict[str, Any]


class Opener:
    """Opens checkpoint folders, and reads each only once."""

    def __init__(self) -> None:
        self._opened: dict[Path, Checkpoint] = {}

    def __call__(self, model: str) -> Checkpoint | None:
        """The checkpoint of a shipped name or folder; None if ``model`` is empty."""
        if not model:
            return None
        path = model_file(model, "config.json").resolve()
        if path not in self._opened:
            self._opened[path] = open_checkpoint(model)
        return self._opened[path]
