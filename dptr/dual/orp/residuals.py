"""Residuals (image token minus text token) of rendered words, as noise for stage 1: our variant of ORP.

Image and text tokens of the glyph encoder belong to the same slots, so their difference is the error of image tokens.
Text tokens with added residuals have the same errors as image tokens. ``perturb`` with ``positions = "aligned"`` adds
the residuals of one random crop, slot by slot; then the error of an "O" that looks like a "0" is added to any letter.
``perturb_by_symbol`` adds residuals of the same symbol, so that a decoder sees the confusions of images. A residual
reveals its symbol, and a decoder can memorize a small bank: use a bank of many crops (docs/LOG.md).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dptr.dual.base import DualEncoder
from dptr.dual.orp.bank import Bank, load_bank, save_bank
from dptr.utils.errors import UserError
from dptr.utils.outputs import check_file, writes_through
from dptr.version import __version__


def build_residual_bank(dual: DualEncoder, batches: Iterable[tuple[Tensor, list[str]]], out: str | Path) -> Bank:
    """Write a bank of residuals of crops with known words, such as rendered ones.

    Args:
        dual: a dual encoder with image and text tokens of the same slots: glyph.
        batches: pixels (b, 3, h, w) in [-1, 1] at ``dual.image_size``, and their words.
        out: the file to write.

    Returns:
        The bank, memory-mapped from ``out``; ``images`` of its provenance are the words.

    Raises:
        UserError: no crops; a dual encoder whose text and image tokens differ in number; ``out`` cannot be written, or
            is a file that DPTR did not write.
    """
    check_file(out)
    residuals: list[Tensor] = []
    all_words: list[str] = []
    for pixels, words in batches:
        image, (text, _) = dual.encode_image(pixels), dual.encode_text(words)
        if image.shape != text.shape:
            raise UserError(
                f"{dual.name}: {image.shape[1]} image tokens beside {text.shape[1]} text tokens; residuals need tokens "
                "that stand for the same slots: use a glyph encoder, or a bank of photographs (--images)"
            )
        residuals.append((image - text).half().cpu())
        all_words += words
    if not residuals:
        raise UserError("bank: no crops; pass a pack that holds some, made with dptr synth")
    provenance = {
        "encoder": f"{dual.kind}:{dual.name}",
        "fingerprint": dual.fingerprint,
        "images": all_words,
        "dropped": [],
        "date": datetime.date.today().isoformat(),
        "version": __version__,
    }
    bank = Bank(torch.cat(residuals), provenance)
    save_bank(bank, out)
    return bank if writes_through(out) else load_bank(out, dual)


@dataclass(frozen=True)
class SymbolGroups:
    """Rows of a table, sorted by the symbol of each.

    Attributes:
        rows: indices, in the order of ``symbols``.
        symbols: of ``rows``, ascending.
        characters: indices of the rows whose symbol is a character, not the end or padding.
    """

    rows: Int[Tensor, " n"]
    symbols: Int[Tensor, " n"]
    characters: Int[Tensor, " k"]


def group_by_symbol(symbols: Int[Tensor, " n"], end: int, pad: int) -> SymbolGroups:
    """Sort rows by symbol, for ``draw_same_symbol``; all symbols but ``end`` and ``pad`` are characters."""
    rows = symbols.argsort(stable=True)
    return SymbolGroups(rows, symbols[rows], ((symbols != end) & (symbols != pad)).nonzero()[:, 0])


def draw_same_symbol(
    groups: SymbolGroups,
    wanted: Int[Tensor, "b m"],
    generator: torch.Generator,
    samples: int | None = None,
    own: slice = slice(None),
) -> Int[Tensor, "b m"]:
    """Draw a random row with each wanted symbol; if there is none, one with any character.

    Args:
        samples, own: see ``dptr.dual.orp.perturb.perturb``.
    """
    first, last = (torch.searchsorted(groups.symbols, wanted, right=right) for right in (False, True))
    everything = len(wanted) if samples is None else samples
    drawn = torch.rand((everything, wanted.shape[1]), generator=generator, device=generator.device)[own]
    drawn = drawn.to(wanted.device)
    chosen = groups.rows[(first + (drawn * (last - first)).long()).minimum(last - 1)]
    missing = first == last
    if bool(missing.any()):
        places = (drawn[missing] * len(groups.characters)).long().clamp(max=len(groups.characters) - 1)
        chosen[missing] = groups.characters[places]
    return chosen


@dataclass(frozen=True)
class ResidualTable:
    """A bank of residuals by symbol.

    Attributes:
        tokens: all residuals, one per row.
        groups: the rows by symbol.
        index: character -> symbol; END and PAD have other symbols.
    """

    tokens: Float[Tensor, "n d"]
    groups: SymbolGroups
    index: dict[str, int]


_END, _PAD, _UNKNOWN = 0, 1, -1


def tabulate_residuals(bank: Bank) -> ResidualTable:
    """Group a bank of ``build_residual_bank`` by symbol.

    Raises:
        UserError: a bank of photographs.
    """
    words = bank.provenance["images"]
    crops, slots, width = bank.tokens.shape
    if all(Path(word).suffix for word in words):  # names of files
        raise UserError(
            f"bank of {bank.provenance['encoder']}: of photographs, not of residuals; orp.positions = symbols needs "
            "one made with: dptr bank --pack DIR"
        )
    characters = dict.fromkeys(character for word in words for character in word)
    index = {character: place + 2 for place, character in enumerate(characters)}
    groups = group_by_symbol(_symbols(words, slots, index).flatten().to(bank.tokens.device), _END, _PAD)
    return ResidualTable(bank.tokens.view(crops * slots, width), groups, index)


def perturb_by_symbol(
    memory: Float[Tensor, "b m d"],
    words: list[str],
    table: ResidualTable,
    strength: float,
    generator: torch.Generator,
    samples: int | None = None,
    own: slice = slice(None),
) -> Float[Tensor, "b m d"]:
    """Add to each token ``strength`` times the residual of a random token of the same symbol. For training only.

    Symbols are the word's characters, then END, then PAD up to the last slot. A character that the bank lacks gets the
    residual of any character.

    Args:
        samples, own: as in ``dptr.dual.orp.perturb.perturb``.

    Returns:
        Perturbed memory, of ``memory``'s type; the sum is made in float32.
    """
    wanted = _symbols(words, memory.shape[1], table.index).to(table.groups.rows.device)
    rows = draw_same_symbol(table.groups, wanted, generator, samples, own)
    noise = table.tokens[rows.flatten()].view(*rows.shape, -1).to(memory.device, torch.float32)
    return (memory.float() + strength * noise).to(memory.dtype)


def _symbols(words: list[str], slots: int, index: dict[str, int]) -> Int[Tensor, "b m"]:
    symbols = torch.full((len(words), slots), _PAD)
    for row, word in enumerate(words):
        known = [index.get(character, _UNKNOWN) for character in word]
        symbols[row, : len(word) + 1] = torch.tensor([*known, _END])
    return symbols
