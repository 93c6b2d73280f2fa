"""Initialization of a glyph dual encoder from one with another charset."""

from __future__ import annotations

from dptr.dual.glyph.model import GlyphDual, GlyphModel
from dptr.models.loading import load_strictly, match_character_rows
from dptr.models.resize_positions import extend_rows, resize_rows
from dptr.text.charset import Charset

# Parameters with one row per symbol or class -> number of rows after those of the characters; row 0 is EOS or blank.
BY_CHARACTER = {
    "text.symbols.weight": 1,  # PAD
    "ctc.weight": 0,
    "ctc.bias": 0,
    "letters.weight": 0,
    "letters.bias": 0,
}


def warm_start(model: GlyphModel, charset: Charset, before: GlyphDual) -> list[str]:
    """Load the encoder ``before`` into ``model``; only rows of new characters stay fresh.

    Image encoder, slots, positions, and the text side's norm are loaded whole, so that the slots of an image do not
    change. If ``max_length`` or ``encoder.max_width`` differ, positions are resized (``dptr.models.resize_positions``).

    Args:
        charset: of ``model``.
        before: a shipped encoder, or one that ``dptr align`` wrote.

    Returns:
        Lines for the log.

    Raises:
        UserError: width or kind differ.
    """
    own, tensors = model.state_dict(), before.model.state_dict()
    for key, after in BY_CHARACTER.items():
        new, old = match_character_rows(charset, before.charset, after)
        merged = own[key].clone()
        if merged.shape[1:] == tensors[key].shape[1:]:
            merged[new] = tensors[key][old]
            tensors[key] = merged
    positions = {f"encoder.{key}": kind for key, kind in model.encoder.per_position().items()}
    positions |= {f"slots.{key}": kind for key, kind in model.slots.per_position().items()}
    tensors, resized = resize_rows(model, positions, tensors, "")
    learned, fresh = tensors["text.positions.weight"], own["text.positions.weight"]
    if learned.shape[1:] == fresh.shape[1:] and len(learned) != len(fresh):
        tensors["text.positions.weight"] = extend_rows(learned[None], fresh[None])[0]
    load_strictly(model, tensors, before.name)
    known = sum(character in before.charset for character in charset.characters)
    return [f"starts from {before.name}: {known} of {len(charset)} characters are known to it", *resized]
