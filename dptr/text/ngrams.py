"""A character n-gram model: the probability of a word from those of its letters, each given the ones before it.

Probabilities are interpolated over the orders after Witten and Bell (1991), in the form of Chen and Goodman, "An
Empirical Study of Smoothing Techniques for Language Modeling" (1999), section 2.6: a context that was followed by u
different letters, t times in all, leaves the share u / (t + u) to the context that is one letter shorter.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8, UInt64

from dptr.text.charset import Charset
from dptr.utils.errors import UserError
from dptr.utils.files import replace_file

MOST_WORDS = 400_000
MOST_ORDER = 8  # letters whose numbers, of 8 bits each, fit in a key
_START, _END, _UNKNOWN, _FIRST = 0, 1, 2, 3  # numbers of what is no letter of the alphabet, and of its first letter
_MOST_LETTERS = 256 - _FIRST
_MEAN_WEIGHT = 2.0  # of a word of a list
_LEAST = 0.0, 0.0, 0.5, 2.0, 4.0, 6.0  # weight of n-grams of a list, by order; 300,000 of them stay for dptr-latin
_MOST_BYTES = 100_000_000  # of a file's arrays in memory
_STEPS = 16.0  # of a stored logarithm, in one nat: 0 to 255 stand for 0 to -15.9


@dataclass(frozen=True, eq=False)
class Ngrams:
    """The n-grams of one order.

    Attributes:
        keys: the numbers of the letters, 8 bits each, the last letter lowest; ascending.
        costs: of each, minus the logarithm of the last letter's probability given the others, times ``_STEPS``.
        backoffs: of each as a context, minus the logarithm of the share for the shorter context, times ``_STEPS``.
    """

    keys: UInt64[np.ndarray, " n"]
    costs: UInt8[np.ndarray, " n"]
    backoffs: UInt8[np.ndarray, " n"]

    def find(self, keys: UInt64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
        """The row of each key; -1 = none."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[rows] == keys, rows, -1)


@dataclass(frozen=True, eq=False)
class NgramModel:
    """Probabilities of words. Upper and lower case are one; letters outside the alphabet are one too.

    Attributes:
        alphabet: its letters, lower case.
        orders: the n-grams of each order, from single letters on.
    """

    alphabet: str
    orders: tuple[Ngrams, ...]

    def log_probabilities(self, words: Sequence[str]) -> Float64[np.ndarray, " n"]:
        """The logarithm of each word's probability, its end included."""
        if not words:
            return np.zeros(0)
        order = len(self.orders)
        letters = {letter: number for number, letter in enumerate(self.alphabet, _FIRST)}
        numbers = [_to_numbers(word, letters) for word in words]
        text = np.concatenate([np.array([_START] * (order - 1) + word, np.uint64) for word in numbers])
        lengths = np.array([len(word) for word in numbers])
        starts = np.cumsum(lengths + order - 1) - lengths
        places = np.concatenate([np.arange(start, start + n) for start, n in zip(starts, lengths, strict=True)])
        costs = np.zeros(len(places))
        is_open = np.ones(len(places), bool)
        for size in range(order, 0, -1):
            keys = np.zeros(len(places), np.uint64)
            for back in range(size - 1, -1, -1):
                keys = (keys << np.uint64(8)) | text[places - back]
            rows = self.orders[size - 1].find(keys)
            hit = is_open & (rows >= 0)
            costs[hit] += self.orders[size - 1].costs[rows[hit]]
            is_open &= ~hit
            if size > 1:
                contexts = self.orders[size - 2].find(keys >> np.uint64(8))
                left = is_open & (contexts >= 0)
                costs[left] += self.orders[size - 2].backoffs[contexts[left]]
        costs[is_open] += 255
        return -np.add.reduceat(costs, np.cumsum(lengths) - lengths) / _STEPS

    def save(self, path: Path) -> None:
        """Write the model to an ``.npz`` file, in place of an earlier one."""
        arrays: dict[str, np.ndarray] = {"alphabet": np.array([ord(letter) for letter in self.alphabet], np.uint32)}
        for size, own in enumerate(self.orders, 1):
            arrays |= {
                f"gaps{size}": np.diff(own.keys, prepend=np.uint64(0)),
                f"costs{size}": own.costs,
                f"backoffs{size}": own.backoffs,
            }
        with replace_file(path) as aside, aside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def load_ngrams(path: Path) -> NgramModel:
    """Read a model that ``NgramModel.save`` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > _MOST_BYTES:
            raise UserError(f"{path}: {size / 1e6:.0f} MB of n-grams, more than {_MOST_BYTES / 1e6:.0f}; keep fewer")
        with np.load(path, allow_pickle=False) as arrays:
            alphabet = "".join(map(chr, arrays["alphabet"].tolist()))
            count = sum(name.startswith("gaps") for name in arrays)
            orders = tuple(
                Ngrams(
                    np.cumsum(arrays[f"gaps{size}"], dtype=np.uint64), arrays[f"costs{size}"], arrays[f"backoffs{size}"]
                )
                for size in range(1, count + 1)
            )
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged n-grams ({error}); copy the file anew") from error
    shapes = [
        {(own.keys.shape, np.dtype(np.uint8)), *((each.shape, each.dtype) for each in (own.costs, own.backoffs))}
        for own in orders
    ]
    if not orders or any(len(each) > 1 for each in shapes):
        raise UserError(f"{path}: damaged n-grams; copy the file anew")
    return NgramModel(alphabet, orders)


def fit_word_list(words: Sequence[tuple[str, float]]) -> NgramModel:
    """Fit the n-grams of a list of words, each with its probability (``dptr.text.corpus.Corpus.list_words``).

    Of more than ``MOST_WORDS``, which take half a minute, the likeliest are counted.

    Raises:
        UserError: see ``fit_ngrams``.
    """
    if len(words) > MOST_WORDS:
        words = nlargest(MOST_WORDS, words, key=itemgetter(1))
    total = _MEAN_WEIGHT * len(words) / sum(probability for _, probability in words)
    return fit_ngrams(((word, probability * total) for word, probability in words), len(_LEAST), _LEAST)


def can_count(charset: Charset) -> bool:
    """Whether the letters of a charset can be numbered in 8 bits; those of Chinese, Japanese, and Korean cannot."""
    return len({_fold(character) for character in charset.characters}) <= _MOST_LETTERS


def fit_ngrams(words: Iterable[tuple[str, float]], order: int, least: Sequence[float]) -> NgramModel:
    """Count the n-grams of words.

    Args:
        words: each with its weight, > 0.
        order: the longest n-grams, 1 to ``MOST_ORDER`` letters, starts and ends included.
        least: for each order, the least weight of an n-gram to keep, ascending; the others leave their share to shorter
            ones. All single letters are kept.

    Raises:
        UserError: ``order`` is out of range, or the words have more letters than 8 bits can number.
    """
    if not 1 <= order <= MOST_ORDER:
        raise UserError(f"order {order}: outside 1 to {MOST_ORDER}; pass a length of n-grams in this range")
    if list(least) != sorted(least) or len(least) != order:
        raise UserError(f"least {list(least)}: pass one weight for each of {order} orders, ascending")
    entries = list(words)
    alphabet = "".join(sorted({letter for word, _ in entries for letter in _fold(word)}))
    if len(alphabet) > _MOST_LETTERS:
        raise UserError(f"{len(alphabet)} letters: more than {_MOST_LETTERS}; pass words of one script")
    letters = {letter: number for number, letter in enumerate(alphabet, _FIRST)}
    counts: list[dict[tuple[int, ...], Counter[int]]] = [defaultdict(Counter) for _ in range(order)]
    for word, weight in entries:
        numbers = [_START] * (order - 1) + _to_numbers(word, letters)
        for place in range(order - 1, len(numbers)):
            for size in range(order):
                counts[size][tuple(numbers[place - size : place])][numbers[place]] += weight  # type: ignore[assignment]
    for size in range(1, order):
        for context in list(counts[size]):
            followers = {number: n for number, n in counts[size][context].items() if n >= least[size]}
            if followers:
                counts[size][context] = Counter(followers)
            else:
                del counts[size][context]
    return NgramModel(alphabet, _interpolate(counts, len(alphabet) + _FIRST))


def _interpolate(counts: list[dict[tuple[int, ...], Counter[int]]], letters: int) -> tuple[Ngrams, ...]:
    """The n-grams of counts; below single letters all are equally likely."""
    probabilities: list[dict[tuple[int, ...], float]] = []
    backoffs: list[dict[tuple[int, ...], float]] = []
    for size, own in enumerate(counts):
        probabilities.append({})
        backoffs.append({})
        for context, followers in own.items():
            total, different = sum(followers.values()), len(followers)
            backoffs[size][context] = different / (total + different)
            for number, n in followers.items():
                shorter = _look_up(probabilities, backoffs, context[1:], number) if size else 1 / letters
                probabilities[size][*context, number] = (n + different * shorter) / (total + different)
    unseen = backoffs[0][()] / letters
    for number in range(letters):
        probabilities[0].setdefault((number,), unseen)
    orders = []
    for size, own_probabilities in enumerate(probabilities):
        after = backoffs[size + 1] if size + 1 < len(backoffs) else {}
        keys = {_to_key(each): each for each in {*own_probabilities, *after}}
        ascending = [keys[key] for key in sorted(keys)]
        orders.append(
            Ngrams(
                np.array(sorted(keys), np.uint64),
                _to_steps([own_probabilities.get(each, 1.0) for each in ascending]),
                _to_steps([after.get(each, 1.0) for each in ascending]),
            )
        )
    return tuple(orders)


def _look_up(
    probabilities: list[dict[tuple[int, ...], float]], backoffs: list[dict[tuple[int, ...], float]],
    context: tuple[int, ...], number: int,
) -> float:  # fmt: skip
    """The probability of a letter after a context, from the orders that are known."""
    factor = 1.0
    while True:
        if (found := probabilities[len(context)].get((*context, number))) is not None:
            return factor * found
        factor *= backoffs[len(context)].get(context, 1.0)
        context = context[1:]


def _fold(word: str) -> str:
    return "".join(letter.lower()[0] for letter in word)


def _to_numbers(word: str, letters: dict[str, int]) -> list[int]:
    return [*(letters.get(letter, _UNKNOWN) for letter in _fold(word)), _END]


def _to_key(numbers: tuple[int, ...]) -> int:
    key = 0
    for number in numbers:
        key = key << 8 | number
    return key


def _to_steps(probabilities: Sequence[float]) -> UInt8[np.ndarray, " n"]:
    return np.clip(np.round(-np.log(probabilities) * _STEPS), 0, 255).astype(np.uint8)
