"""Rescoring: of the likeliest readings of a CTC network, the one that a character n-gram model finds best too.

Given the picture, CTC takes each position for independent of the others, so the network knows little of spelling.
Where it is unsure, the score of a reading is

    log P(reading | picture) + WEIGHT * sum of log P(word) over its words + BONUS * its number of characters

Signs at the ends of words do not count. The form is that of decoding speech with a language model (Hannun et al.,
"Deep Speech", 2014, arXiv 1412.5567, section 2.2). P(word) is a mixture of the n-gram model and of codes, whose letters
and end are each one of ``CODE_SYMBOLS`` alike, so that no serial number becomes a word. The mixture is ours.
docs/evidence/rescoring.md has what it gains.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from dptr.inference.ctc_search import compose_words, find_paths
from dptr.inference.trellis import FoundWord
from dptr.text.automaton import Automaton
from dptr.text.ngrams import NgramModel, load_ngrams
from dptr.text.tokenizer import Tokenizer
from dptr.weights import model_file

FILE = "ngrams.npz"
CERTAIN = 0.8  # readings with this probability or more, 0 to 1, are kept
# Chosen on validation crops of seven kinds (docs/evidence/rescoring.md)
WEIGHT, BONUS = 0.25, 0.5
CODE_SHARE, CODE_SYMBOLS = 1 / 3, 16
WIDTH = 16  # readings that are compared
_CLASSES = 10  # that may continue a reading at a position
# Spelling outweighs no class of a smaller log-probability, and no reading that is so much less likely than the best
_LEAST, _MARGIN = math.log(1e-5), 9.0


@dataclass(frozen=True)
class Choice:
    """The best reading of a crop.

    Attributes:
        symbols: the classes of its characters.
        probability: 0 to 1, the share of the compared readings, weighted by their scores, that count as equal to it.
    """

    symbols: tuple[int, ...]
    probability: float


@dataclass(frozen=True, eq=False)
class Rescoring:
    """A choice between readings of a CTC network.

    Attributes:
        ngrams: of the words that are read.
        tokenizer: of the network.
        weight, bonus: of the score above.
        code_share: of codes in the mixture, above 0 and below 1.
    """

    ngrams: NgramModel
    tokenizer: Tokenizer
    weight: float = WEIGHT
    bonus: float = BONUS
    code_share: float = CODE_SHARE

    def choose(self, path: Float[np.ndarray, "t classes"], fold: Callable[[tuple[int, ...]], object] = tuple) -> Choice:
        """Choose the best reading.

        Args:
            path: for each position, the probabilities of the blank (class 0) and of the characters.
            fold: what is the same of readings that count as equal.
        """
        readings = find_readings(path)
        texts = [self.spell(symbols) for symbols, _ in readings]
        scores = np.array([score for _, score in readings]) + self.score(texts)
        best = readings[int(scores.argmax())][0]
        shares = np.exp(scores - scores.max())
        is_equal = np.array([fold(symbols) == fold(best) for symbols, _ in readings])
        return Choice(best, float(shares[is_equal].sum() / shares.sum()))

    def spell(self, symbols: Sequence[int]) -> str:
        """The text of classes, in logical order."""
        written = "".join(self.tokenizer.charset.characters[symbol - 1] for symbol in symbols)
        return self.tokenizer.read(written, [1.0] * len(written))[0]

    def score(self, texts: Sequence[str]) -> Float64[np.ndarray, " n"]:
        """What is added to the logarithm of each reading's probability."""
        parts = [[core for word in text.split() if (core := _strip_signs(word))] for text in texts]
        words = sorted({word for own in parts for word in own})
        codes = math.log(self.code_share) - np.array([len(word) + 1 for word in words]) * math.log(CODE_SYMBOLS)
        spelled = math.log(1 - self.code_share) + self.ngrams.log_probabilities(words)
        own_scores = dict(zip(words, np.logaddexp(spelled, codes).tolist(), strict=True))
        return np.array(
            [self.weight * sum(own_scores[word] for word in own) + self.bonus * len(" ".join(own)) for own in parts]
        )


def find_readings(path: Float[np.ndarray, "t classes"], width: int = WIDTH) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest readings of a CTC network, by prefix beam search (Hannun et al., arXiv 1408.2873, algorithm 1).

    Returns:
        The classes of the characters of each reading and the logarithm of its probability, the likeliest first. The
        probability sums over the paths of prefixes that were kept, so it is a lower bound.
    """
    logs = np.log(np.maximum(path.astype(np.float64), np.finfo(np.float64).tiny))
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}  # of paths that end in a blank, or not
    for row in logs:
        classes = np.flatnonzero(row > _LEAST)
        if len(classes) > _CLASSES:
            classes = np.argpartition(row, -_CLASSES)[-_CLASSES:]
        shares = list(zip(classes.tolist(), row[classes].tolist(), strict=True))
        following: dict[tuple[int, ...], list[float]] = {}
        for prefix, (after_blank, after_character) in beam.items():
            total = _add(after_blank, after_character)
            last = prefix[-1] if prefix else 0
            for each, share in shares:
                if each == 0:
                    _gather(following, prefix, 0, total + share)
                elif each == last:
                    _gather(following, prefix, 1, after_character + share)
                    _gather(following, (*prefix, each), 1, after_blank + share)
                else:
                    _gather(following, (*prefix, each), 1, total + share)
        kept = sorted(((_add(*both), prefix) for prefix, both in following.items()), reverse=True)[:width]
        least = kept[0][0] - _MARGIN
        beam = {prefix: (following[prefix][0], following[prefix][1]) for score, prefix in kept if score >= least}
    return [(prefix, _add(*both)) for prefix, both in beam.items()]


def _strip_signs(word: str) -> str:
    """The word without signs at its ends, of which the n-grams know nothing."""
    inside = [place for place, character in enumerate(word) if unicodedata.category(character)[0] in "LMN"]
    return word[inside[0] : inside[-1] + 1] if inside else ""


def find_word(path: Float[np.ndarray, "t classes"], symbols: Sequence[int]) -> FoundWord:
    """The likeliest path of a word; see ``dptr.inference.ctc_search.find_paths``."""
    states = np.arange(len(symbols), dtype=np.int64)
    accepting = np.zeros(len(symbols) + 1, bool)
    accepting[-1] = True
    automaton = Automaton(states, np.array(symbols, np.int64), states + 1, accepting)
    return find_paths(path[None], compose_words(automaton))[0]


def find_ngrams(model: str | Path) -> Path:
    """The path of a model's n-grams, in its folder or beside its file; they need not be there.

    Raises:
        UserError: see ``model_file``.
    """
    return Path(model).with_name(FILE) if Path(model).is_file() else model_file(model, FILE)


def open_rescoring(path: Path, tokenizer: Tokenizer) -> Rescoring | None:
    """The rescoring with the n-grams of a file; None if there is no such file.

    Raises:
        UserError: see ``load_ngrams``.
    """
    return Rescoring(_load_once(path), tokenizer) if path.is_file() else None


@lru_cache(maxsize=4)
def _load_once(path: Path) -> NgramModel:
    return load_ngrams(path)


def _add(one: float, two: float) -> float:
    """The logarithm of the sum of two numbers, from their logarithms."""
    low, high = (one, two) if one < two else (two, one)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _gather(scores: dict[tuple[int, ...], list[float]], prefix: tuple[int, ...], kind: int, score: float) -> None:
    own = scores.setdefault(prefix, [-math.inf, -math.inf])
    own[kind] = _add(own[kind], score)
