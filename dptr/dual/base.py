"""Frozen dual encoders, which embed words and pictures in one space: their interface, kinds, and loader.

A dual encoder is not part of the trained module or its checkpoint; the checkpoint has its name and fingerprint. To add
one, write a file with a loader in this folder, a line in ``DUAL_ENCODERS``, and, for its settings, a class and a line
in ``dptr.config.model.DUAL_CONFIGS``. CLIP-like encoders of ``transformers`` share one adapter
(``dptr.dual.clip.encoder``); ``dptr.dual.clip.families`` has their differences.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dptr.config.model import ClipDualConfig, DualConfig, GlyphDualConfig
from dptr.utils.errors import UserError


@runtime_checkable
class DualEncoder(Protocol):
    """A frozen model with text tokens and image tokens of the same width, in eval mode, without gradients."""

    @property
    def kind(self) -> str:
        """Its key in ``DUAL_ENCODERS``."""

    @property
    def name(self) -> str:
        """Name of the weights, for provenance: ``glyph-en``, ``openai/clip-vit-base-patch16``."""

    @property
    def dim(self) -> int:
        """Width of text and image tokens."""

    @property
    def fingerprint(self) -> str:
        """``WEIGHTS`` or ``WEIGHTS-SETTINGS``, hexadecimal hashes.

        Encoders with the same WEIGHTS have the same image tokens, so that they can share a bank. SETTINGS is a hash of
        what changes only text tokens (prompt, padding).
        """

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of its input pictures, in pixels."""

    def to(self, device: torch.device | str) -> DualEncoder:
        """Move the weights; results will be on this device."""

    def encode_text(self, words: list[str]) -> tuple[Float[Tensor, "b l d"], Bool[Tensor, "b l"]]:
        """Tokens of each word, float32, and a mask that is True at real tokens."""

    def encode_image(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        """All tokens of each picture, float32; pixels in [-1, 1], of ``image_size``."""


def _glyph(config: GlyphDualConfig) -> DualEncoder:
    from dptr.dual.glyph.model import load_glyph

    return load_glyph(config)


def _clip(config: ClipDualConfig) -> DualEncoder:
    from dptr.dual.clip.encoder import load_clip

    return load_clip(config)


DUAL_ENCODERS: dict[str, Callable[[Any], DualEncoder]] = {  # (the kind's config)
    "glyph": _glyph,
    "clip": _clip,
    "siglip": _clip,
    "chinese-clip": _clip,
    "altclip": _clip,
    "metaclip2": _clip,
}


def load_dual(config: DualConfig) -> DualEncoder:
    """Load the dual encoder that ``config`` names, frozen and in eval mode, on the CPU.

    Raises:
        UserError: an unknown kind; missing weights or libraries.
    """
    if config.kind not in DUAL_ENCODERS:
        nearest = difflib.get_close_matches(config.kind, DUAL_ENCODERS, n=1, cutoff=0)[0]
        raise UserError(f"dual.kind = '{config.kind}'; known: {', '.join(DUAL_ENCODERS)}; did you mean '{nearest}'?")
    return DUAL_ENCODERS[config.kind](config)


def distinguishes(dual: DualEncoder, first: str, second: str) -> bool:
    """Whether two words have different text tokens.

    CLIP's tokenizer lower-cases: with the paper's prompt "A" and "a" are the same input, and a decoder can only guess
    the case of its target. ``dptr.dual.clip.prompts`` has prompts that keep case. SigLIP's tokenizer also drops
    punctuation.
    """
    (tokens_a, mask_a), (tokens_b, mask_b) = dual.encode_text([first]), dual.encode_text([second])
    return not torch.equal(tokens_a[mask_a], tokens_b[mask_b])
