"""Frozen dual encoders: a word and a picture in one space. The contract, the dict of kinds, the loader.

A dual encoder stays outside the trained module and never enters its checkpoint; the checkpoint names it and its
fingerprint. To add one: a file with a loader in this folder, and a line in ``DUAL_ENCODERS``; keys of its own
are a class and a line in ``dptr.config.model.DUAL_CONFIGS``. CLIP-like encoders in ``transformers`` share one
(``dptr.dual.clip.encoder``); what tells them apart is in ``dptr.dual.clip.families``.
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
    """Text tokens that stand in for image tokens of the same width. Frozen, in eval mode, without gradients."""

    @property
    def kind(self) -> str:
        """Its key in ``DUAL_ENCODERS``."""

    @property
    def name(self) -> str:
        """Its weights, for provenance: ``glyph-en``, ``openai/clip-vit-base-patch16``."""

    @property
    def dim(self) -> int:
        """Width of text and image tokens."""

    @property
    def fingerprint(self) -> str:
        """``WEIGHTS`` or ``WEIGHTS-SETTINGS``, hexadecimal hashes.

        Two encoders with the same WEIGHTS give the same image tokens, so that a bank of one serves the other;
        SETTINGS covers what changes text tokens only (prompt, padding).
        """

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the pictures it takes, in pixels."""

    def to(self, device: torch.device | str) -> DualEncoder:
        """Move the weights; results come back on this device."""

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


DUAL_ENCODERS: dict[str, Callable[[Any], DualEncoder]] = {  # of the kind's config
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
        UserError: unknown kind, or its weights or libraries are not at hand.
    """
    if config.kind not in DUAL_ENCODERS:
        nearest = difflib.get_close_matches(config.kind, DUAL_ENCODERS, n=1, cutoff=0)[0]
        raise UserError(f"dual.kind = '{config.kind}'; known: {', '.join(DUAL_ENCODERS)}; did you mean '{nearest}'?")
    return DUAL_ENCODERS[config.kind](config)


def distinguishes(dual: DualEncoder, first: str, second: str) -> bool:
    """Whether two words have different text tokens.

    CLIP's tokenizer lower-cases, so that with the paper's prompt "A" and "a" are the same input and a decoder can only
    guess the case of its target; ``dptr.dual.clip.prompts`` has prompts that keep it. SigLIP's also drops punctuation.
    """
    (tokens_a, mask_a), (tokens_b, mask_b) = dual.encode_text([first]), dual.encode_text([second])
    return not torch.equal(tokens_a[mask_a], tokens_b[mask_b])
