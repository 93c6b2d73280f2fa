"""Controls of the study: dual encoders with changed text sides, and banks of noise.

A control differs from the aligned encoder only in its text tokens, from which the decoder learns in stage 1. All arms
then start fine-tuning from the image side of the aligned encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from dptr.config.model import GlyphDualConfig
from dptr.dual.glyph.model import GlyphDual, GlyphModel, GlyphText, load_glyph, save_glyph
from dptr.dual.orp.bank import Bank, load_bank, save_bank

WHITE = 500  # draws of noise, as many as there are photographs in BSDS500


def permute_letters(count: int, seed: int) -> Int[np.ndarray, " count"]:
    """A random permutation of ``count`` characters without fixed points: a single cycle (Sattolo 1986).

    Raises:
        ValueError: fewer than two characters.
    """
    if count < 2:
        raise ValueError(f"{count} character(s) cannot change places")
    random = np.random.Generator(np.random.Philox(key=[seed, 0]))
    order = np.arange(count)
    for last in range(count - 1, 0, -1):
        other = int(random.integers(last))
        order[[last, other]] = order[[other, last]]
    return order


def permuted_text(model: GlyphModel, order: Int[np.ndarray, " n"]) -> GlyphModel:
    """A copy in which character i has the text token of character ``order[i]``; end and padding are unchanged."""
    copy = deepcopy(model)
    rows = torch.arange(len(order) + 2)
    rows[1:-1] = torch.from_numpy(order) + 1
    with torch.no_grad():
        copy.text.symbols.weight.copy_(model.text.symbols.weight[rows])
    return copy


def random_text(model: GlyphModel, seed: int) -> GlyphModel:
    """A copy with a newly initialized text side, whose tokens have the same mean norm as the aligned ones."""
    copy = deepcopy(model)
    symbols, width = model.text.symbols.weight.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        copy.text = GlyphText(symbols - 2, len(model.text.positions.weight), width)
    with torch.no_grad():
        target, current = (text.table().norm(dim=-1).mean() for text in (model.text, copy.text))
        copy.text.norm.weight.mul_(target / current)
    return copy


def constant_text(model: GlyphModel) -> GlyphModel:
    """A copy in which each text token is the mean of all tokens, so that a decoder can learn only spelling from it."""
    copy = deepcopy(model)
    with torch.no_grad():
        mean = model.text.table().mean((0, 1))
        copy.text.norm.weight.zero_()
        copy.text.norm.bias.copy_(mean)
    return copy


def write_controls(glyph: str, residuals: Path, photographs: Path, seed: int, out: Path) -> None:
    """Write the text sides ``permuted``, ``random``, and ``constant``, and the banks ``centered`` and ``white``.

    Args:
        glyph: the aligned dual encoder, a folder or a shipped name.
        residuals, photographs: the banks of this encoder.
        seed: of the permutation, the initialization, and the noise.
        out: a folder; files that exist already are kept.
    """
    dual = load_glyph(GlyphDualConfig(model=glyph))
    order = permute_letters(len(dual.charset), seed)
    sides: dict[str, Callable[[], GlyphModel]] = {
        "permuted": lambda: permuted_text(dual.model, order),
        "random": lambda: random_text(dual.model, seed),
        "constant": lambda: constant_text(dual.model),
    }
    for name, change in sides.items():
        if not (out / name / "config.json").is_file():
            save_glyph(out / name, change(), dual.charset, dual.config, {"name": name, "control_of": glyph})
    changed = load_glyph(GlyphDualConfig(model=str(out / "permuted")))
    _write(out / "permuted.safetensors", lambda: relabel_bank(load_bank(residuals, dual), dual, changed, order))
    _write(out / "centered.safetensors", lambda: center(load_bank(photographs, dual)))
    _write(out / "white.safetensors", lambda: whiten(load_bank(residuals, dual), seed))


def _write(path: Path, make: Callable[[], Bank]) -> None:
    if not path.is_file():
        save_bank(make(), path)


def relabel_bank(bank: Bank, dual: GlyphDual, changed: GlyphDual, order: Int[np.ndarray, " n"]) -> Bank:
    """Relabel a bank of residuals for the permuted text side: residuals of letter ``order[i]`` now belong to letter i.

    A text token plus its residual is then still a slot of a rendered letter, but of the wrong one.
    """
    back = {dual.charset.characters[wrong]: dual.charset.characters[right] for right, wrong in enumerate(order)}
    words = ["".join(back[character] for character in word) for word in bank.provenance["images"]]
    return Bank(bank.tokens, {**bank.provenance, "images": words, "fingerprint": changed.fingerprint})


def center(bank: Bank) -> Bank:
    """The bank minus the mean of all its tokens."""
    tokens = bank.tokens.float()
    return Bank((tokens - tokens.mean((0, 1))).half(), bank.provenance)


def whiten(residuals: Bank, seed: int) -> Bank:
    """Isotropic Gaussian noise, the same for all slots, with the root mean square of the residuals."""
    generator = torch.Generator().manual_seed(seed)
    size: Sequence[int] = residuals.tokens.shape[1:]
    noise: Tensor = torch.randn(WHITE, *size, generator=generator)
    deviation = residuals.tokens.float().square().mean().sqrt()
    names = [f"noise{number}.png" for number in range(WHITE)]
    return Bank((noise * deviation).half(), {**residuals.provenance, "images": names})
