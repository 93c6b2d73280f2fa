"""Beam search for the likeliest word that an automaton accepts, under a decoder that reads left to right.

The words that an automaton accepts (a pattern, a lexicon) are its *language* here.

A step of the beam keeps the ``width`` likeliest prefixes that some word of the language begins with. Since a prefix
only loses probability as it grows, the best finished word is the best of the whole language wherever no prefix that was
given up was likelier (``Beam.cut``): then the search was exact. ``dptr.export`` traces ``advance_beam`` as the body of
a loop, so that files search as the model does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dptr.models.decoders.base import AutoregressiveDecoder

NEVER = -1e30  # logarithm of a probability of 0 that sums without becoming infinite
TINY = float(torch.finfo(torch.float32).tiny)


@dataclass
class Guide:
    """What the search follows ; ``dptr.inference.beam.Rules`` is the same in arrays.

    Attributes:
        next: the state after each symbol in each state, -1 = none. State 0 is the start, the last state the end of a
            word, which symbol 0 leads to and stays in.
        missing: how many characters each state is away from where a word may end; of the last state -1.
        keep, gain, other: the probability of symbol c becomes ``keep[c] p[c] + gain[c] p[other[c]]``, and all are
            then divided by their sum.
        temperature: > 0, of the softmax.
    """

    next: Int[Tensor, "s c"]
    missing: Int[Tensor, " s"]
    keep: Float[Tensor, " c"]
    gain: Float[Tensor, " c"]
    other: Int[Tensor, " c"]
    temperature: Float[Tensor, ""]


@dataclass
class Beam:
    """The ``k`` likeliest prefixes of each of n words, the likeliest first.

    Attributes:
        symbols, chances: of each position of a prefix its symbol and the probability of that; 0 and 1 after the end.
        scores: logarithm of a prefix's probability.
        states: of the automaton.
        left: 0 to 1, the probability of what was found not to be in the language.
        cut: the largest score of a prefix that was given up.
    """

    symbols: Int[Tensor, "n k t"]
    chances: Float[Tensor, "n k t"]
    scores: Float[Tensor, "n k"]
    states: Int[Tensor, "n k"]
    left: Float[Tensor, " n"]
    cut: Float[Tensor, " n"]


def start_beam(count: int, width: int, positions: int, device: torch.device) -> Beam:
    """One empty prefix for each of ``count`` words, and room for ``width``."""
    scores = torch.full((count, width), NEVER, device=device)
    scores[:, 0] = 0.0
    return Beam(
        torch.zeros(count, width, positions, dtype=torch.long, device=device),
        torch.ones(count, width, positions, device=device),
        scores,
        torch.zeros(count, width, dtype=torch.long, device=device),
        torch.zeros(count, device=device),
        torch.full((count,), NEVER, device=device),
    )


def advance_beam(
    decoder: AutoregressiveDecoder,
    symbol: Int[Tensor, "n k"],
    beam: Beam,
    guide: Guide,
    cache: list[Float[Tensor, "2 n k h p e"]],
    memory: list[Float[Tensor, "2 n k h m e"]],
) -> tuple[Beam, Int[Tensor, "n k"], list[Float[Tensor, "2 n k h q e"]]]:
    """The symbol at position p of every prefix.

    Args:
        symbol: at the position before, of each prefix.
        cache, memory: as for ``AutoregressiveDecoder.advance``, for each prefix.

    Returns:
        The beam, the symbol at position p of each prefix, and the cache for position q = p + 1.
    """
    count, width = symbol.shape
    position = cache[0].shape[4] if cache else 0
    past = [part.flatten(1, 2) for part in cache]
    logits, grown = decoder.advance(symbol.reshape(-1, 1), [part.flatten(1, 2) for part in memory], None, past)
    beam, parents, symbol = _grow(logits.float().view(count, width, -1), beam, guide, position)
    own = parents[None, :, :, None, None, None]
    return beam, symbol, [_follow(part.unflatten(1, (count, width)), own) for part in grown]


def _follow(part: Float[Tensor, "2 n k h p e"], parents: Int[Tensor, "1 n k 1 1 1"]) -> Float[Tensor, "2 n k h p e"]:
    return part.gather(2, parents.expand(part.shape[0], -1, -1, *part.shape[3:]))


def _grow(
    logits: Float[Tensor, "n k c"], beam: Beam, guide: Guide, position: int | torch.SymInt
) -> tuple[Beam, Int[Tensor, "n k"], Int[Tensor, "n k"]]:
    """The beam, which prefix of the old one each continues, and by which symbol."""
    width, classes = logits.shape[1], logits.shape[2]
    positions, end = beam.symbols.shape[2], guide.next.shape[0] - 1
    shares = (logits / guide.temperature).softmax(-1)
    shares = guide.keep * shares + guide.gain * shares[..., guide.other]
    shares = shares / shares.sum(-1, keepdim=True).clamp(min=TINY)
    nothing = (torch.arange(classes, device=logits.device) == 0).to(shares.dtype)
    shares = torch.where((beam.states == end)[..., None], nothing, shares)
    following = guide.next[beam.states].long()
    allowed = (following >= 0) & (guide.missing[following.clamp(min=0)] < positions - 1 - position)
    chances = torch.where(allowed, shares, 0.0)
    left = beam.left + (beam.scores.exp() * (1 - chances.sum(-1)).clamp(min=0)).sum(-1)
    grown = beam.scores[..., None] + torch.where(allowed, chances.clamp(min=TINY).log(), NEVER)
    best, places = grown.flatten(1).topk(width + 1)
    cut, places = torch.maximum(beam.cut, best[:, width]), places[:, :width]
    parents, symbols = places // classes, places % classes
    here = cast(Tensor, torch.arange(positions, device=logits.device) == position)
    wide = parents[..., None].expand(-1, -1, positions)
    grown_beam = Beam(
        torch.where(here, symbols[..., None], beam.symbols.gather(1, wide)),
        torch.where(here, chances.flatten(1).gather(1, places)[..., None], beam.chances.gather(1, wide)),
        best[:, :width],
        following.flatten(1).gather(1, places).clamp(min=0),
        left,
        cut,
    )
    # A word that is found stays as it is, so that it does not depend on the other words of the batch.
    found = beam.states[:, 0] == end
    return _choose(found, beam, grown_beam), parents, symbols


def _choose(found: Bool[Tensor, " n"], beam: Beam, grown: Beam) -> Beam:
    """``beam`` for the words that are found, ``grown`` for the others."""
    return Beam(
        torch.where(found[:, None, None], beam.symbols, grown.symbols),
        torch.where(found[:, None, None], beam.chances, grown.chances),
        torch.where(found[:, None], beam.scores, grown.scores),
        torch.where(found[:, None], beam.states, grown.states),
        torch.where(found, beam.left, grown.left),
        torch.where(found, beam.cut, grown.cut),
    )


def search(decoder: AutoregressiveDecoder, memory: Float[Tensor, "n m d"], guide: Guide, width: int) -> Beam:
    """The likeliest words of a language: those prefixes of the beam that have ended; the first of each row is one.

    Args:
        memory: what the decoder cross-attends to.
        width: k, prefixes to keep, >= 1.
    """
    count, device = memory.shape[0], memory.device
    beam = start_beam(count, width, decoder.max_length + 1, device)
    symbol = torch.full((count, width), decoder.bos, dtype=torch.long, device=device)
    projected = [part[:, :, None].expand(-1, -1, width, -1, -1, -1) for part in decoder.project(memory)]
    cache: list[Tensor] = []
    while not cache or (cache[0].shape[4] <= decoder.max_length and bool(goes_on(beam, guide))):
        beam, symbol, cache = advance_beam(decoder, symbol, beam, guide, cache, projected)
    return beam


def goes_on(beam: Beam, guide: Guide) -> Bool[Tensor, ""]:
    """Whether some likeliest prefix has not ended: one that has is the best word, for the others can only lose."""
    return (beam.states[:, 0] != guide.next.shape[0] - 1).any()
