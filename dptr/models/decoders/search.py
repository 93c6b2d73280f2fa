"""Beam search for the likeliest word that an automaton accepts, with an autoregressive decoder.

The *language* of an automaton is the set of words that it accepts (those of a pattern or a lexicon).

Each step keeps the ``width`` likeliest prefixes of words of the language. The probability of a prefix only falls as it
grows. So the best finished word is the likeliest of the whole language if no discarded prefix was likelier
(``Beam.cut``): then the search was exact. ``dptr.export`` traces ``advance_beam`` as the body of a loop, so that
exported files search in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dptr.models.decoders.base import AutoregressiveDecoder

NEVER = -1e30  # log-probability of the impossible; finite, so that sums stay finite
TINY = float(torch.finfo(torch.float32).tiny)


@dataclass
class Guide:
    """The automaton and the probabilities of a search; ``dptr.inference.beam.Rules`` is the same in numpy arrays.

    Attributes:
        next: the state after each symbol in each state, -1 = not allowed. State 0 is the start. The last state is the
            end of a word: symbol 0 (EOS) leads to it, and stays in it.
        missing: the least number of characters from each state until a word may end; -1 for the last state.
        keep, gain, other: the probability of symbol c becomes ``keep[c] p[c] + gain[c] p[other[c]]``; all are then
            divided by their sum.
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
    """The ``k`` likeliest prefixes of each of n words, in order of probability.

    Attributes:
        symbols, chances: the symbol at each position of a prefix, and its probability; 0 and 1 after the end.
        scores: log-probability of each prefix.
        states: of the automaton after each prefix.
        left: total probability, 0 to 1, of the continuations outside the language.
        cut: the largest score of a discarded prefix.
    """

    symbols: Int[Tensor, "n k t"]
    chances: Float[Tensor, "n k t"]
    scores: Float[Tensor, "n k"]
    states: Int[Tensor, "n k"]
    left: Float[Tensor, " n"]
    cut: Float[Tensor, " n"]


def start_beam(count: int, width: int, positions: int, device: torch.device) -> Beam:
    """A beam of ``width`` prefixes for each of ``count`` words: an empty one, and impossible ones."""
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
    """Extend every prefix by the symbol at position p.

    Args:
        symbol: the last symbol of each prefix; BOS for p = 0.
        cache, memory: as for ``AutoregressiveDecoder.advance``, for each prefix.

    Returns:
        The beam, the symbol at position p of each prefix, and the cache for position q = p + 1.
    """
    count, width = symbol.shape
    position = cache[0].shape[4] if cache else 0
    past = [part.flatten(1, 2) for part in cache]
    logits, new_cache = decoder.advance(symbol.reshape(-1, 1), [part.flatten(1, 2) for part in memory], None, past)
    beam, parents, symbol = _extend(logits.float().view(count, width, -1), beam, guide, position)
    index = parents[None, :, :, None, None, None]
    return beam, symbol, [_select_parents(part.unflatten(1, (count, width)), index) for part in new_cache]


def _select_parents(
    part: Float[Tensor, "2 n k h p e"], parents: Int[Tensor, "1 n k 1 1 1"]
) -> Float[Tensor, "2 n k h p e"]:
    """The cache of each prefix's parent."""
    return part.gather(2, parents.expand(part.shape[0], -1, -1, *part.shape[3:]))


def _extend(
    logits: Float[Tensor, "n k c"], beam: Beam, guide: Guide, position: int | torch.SymInt
) -> tuple[Beam, Int[Tensor, "n k"], Int[Tensor, "n k"]]:
    """The new beam, and for each of its prefixes the index of the old prefix and the new symbol."""
    width, classes = logits.shape[1], logits.shape[2]
    positions, end = beam.symbols.shape[2], guide.next.shape[0] - 1
    probabilities = (logits / guide.temperature).softmax(-1)
    probabilities = guide.keep * probabilities + guide.gain * probabilities[..., guide.other]
    probabilities = probabilities / probabilities.sum(-1, keepdim=True).clamp(min=TINY)
    only_eos = (torch.arange(classes, device=logits.device) == 0).to(probabilities.dtype)
    probabilities = torch.where((beam.states == end)[..., None], only_eos, probabilities)
    following = guide.next[beam.states].long()
    allowed = (following >= 0) & (guide.missing[following.clamp(min=0)] < positions - 1 - position)
    chances = torch.where(allowed, probabilities, 0.0)
    left = beam.left + (beam.scores.exp() * (1 - chances.sum(-1)).clamp(min=0)).sum(-1)
    scores = beam.scores[..., None] + torch.where(allowed, chances.clamp(min=TINY).log(), NEVER)
    best, indices = scores.flatten(1).topk(width + 1)
    cut, indices = torch.maximum(beam.cut, best[:, width]), indices[:, :width]
    parents, symbols = indices // classes, indices % classes
    is_new = cast(Tensor, torch.arange(positions, device=logits.device) == position)
    wide = parents[..., None].expand(-1, -1, positions)
    extended = Beam(
        torch.where(is_new, symbols[..., None], beam.symbols.gather(1, wide)),
        torch.where(is_new, chances.flatten(1).gather(1, indices)[..., None], beam.chances.gather(1, wide)),
        best[:, :width],
        following.flatten(1).gather(1, indices).clamp(min=0),
        left,
        cut,
    )
    # The beam of a word whose best prefix has ended is final, so that it does not depend on other words of the batch.
    is_final = beam.states[:, 0] == end
    return _choose(is_final, beam, extended), parents, symbols


def _choose(is_final: Bool[Tensor, " n"], beam: Beam, extended: Beam) -> Beam:
    """``beam`` for the words where it is final, ``extended`` for the others."""
    return Beam(
        torch.where(is_final[:, None, None], beam.symbols, extended.symbols),
        torch.where(is_final[:, None, None], beam.chances, extended.chances),
        torch.where(is_final[:, None], beam.scores, extended.scores),
        torch.where(is_final[:, None], beam.states, extended.states),
        torch.where(is_final, beam.left, extended.left),
        torch.where(is_final, beam.cut, extended.cut),
    )


def search(decoder: AutoregressiveDecoder, memory: Float[Tensor, "n m d"], guide: Guide, width: int) -> Beam:
    """The beam at the end of the search. The first prefix of each row is a finished word, the likeliest one.

    Args:
        memory: of the decoder's cross-attention.
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
    """Whether some word's likeliest prefix has not ended. One that has is the best word: scores only fall."""
    return (beam.states[:, 0] != guide.next.shape[0] - 1).any()
