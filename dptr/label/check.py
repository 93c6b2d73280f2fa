"""An estimate of how many words accepted unseen are wrong, from a random sample that people review.

A word is accepted unseen (state ``sure``) when the recognizer's confidence reaches the threshold; nobody looks at it.

Each word has a pseudorandom rank, which depends on the seed and its id. The sample holds the words of the lowest ranks,
so it can grow with the label set: the next draw starts with the added words whose ranks are low. Until that draw, an
added word can rank below drawn words. Then only the drawn words that rank below every undrawn word count, because only
they are a random sample of the label set as it is now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt64

from dptr.label.item import Item, as_label
from dptr.label.store import Store
from dptr.utils.errors import UserError

NOTE = "check"
"""The key of the store's note with the sample.

The note holds ``seed``; ``words``, the id and the text of each drawn word; and, from the last draw, ``below``, the
lowest rank that was not drawn, and ``newest``, the highest id of a word accepted unseen.
"""

MOST = 2000  # words in a sample
LEVEL = 0.95  # confidence level of the interval
_RANKS = 1 << 64


@dataclass(frozen=True)
class Checked:
    """The result of reviewing a sample.

    Attributes:
        seed: the seed of the sample.
        drawn: how many words of the sample count.
        right, wrong, illegible: how many of the drawn words were reviewed with this result.
        population: how many words were accepted unseen: those still unreviewed, and all words of the sample.
        share: the share of wrong words among the reviewed legible words, 0 to 1; None before the first such word.
        low, high: the confidence limits of the share of wrong words in the population, 0 to 1.
        level: the confidence level of these limits, 0 to 1.
        apart: how many words of the sample do not count, because words were added since and some of those rank lower.
    """

    seed: int
    drawn: int
    right: int
    wrong: int
    illegible: int
    population: int
    share: float | None
    low: float
    high: float
    level: float = LEVEL
    apart: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The attributes as a JSON object."""
        return asdict(self)

    def describe(self) -> str:
        """A summary in one line."""
        seen = self.right + self.wrong
        later = f"; {self.apart} more do not count, for words came since: draw more" if self.apart else ""
        if self.share is None:
            return f"accepted unseen: none of {self.drawn} drawn words checked yet{later}"
        return (
            f"accepted unseen: {self.wrong} of {seen} checked words wrong, {100 * self.share:.1f} % "
            f"(between {100 * self.low:.1f} and {100 * self.high:.1f} %, with {100 * self.level:.0f} % confidence)"
            + (f"; {self.illegible} more are illegible" if self.illegible else "")
            + later
        )


def draw(store: Store, count: int, seed: int = 0) -> Checked:
    """Add randomly drawn words, of those accepted unseen, to the sample.

    Args:
        count: how many words to add; fewer are added if fewer are left.
        seed: the seed of the sample. Only the first draw uses it; later draws keep that seed.

    Raises:
        UserError: no undrawn word is left, or the sample would exceed ``MOST`` words.
    """

    def extend(stored: Any) -> dict[str, Any]:
        sample = stored or {"seed": seed, "words": []}
        drawn_ids = {item for item, _ in sample["words"]}
        undrawn = [item for item in store.ids("sure") if item not in drawn_ids]
        if not undrawn:
            raise UserError(f"{store.folder}: no more word was accepted unseen; there is nothing to draw")
        if len(drawn_ids) + count > MOST:
            raise UserError(f"a sample of {len(drawn_ids) + count} words: {MOST} are drawn at most")
        ranks = _rank(sample["seed"], undrawn)
        order = np.argsort(ranks)
        words = [[item.id, item.text] for item in store.some([undrawn[place] for place in order[:count].tolist()])]
        below = int(ranks[order[count]]) if count < len(undrawn) else _RANKS
        newest = max(undrawn[-1], max(drawn_ids, default=0))
        return {**sample, "words": [*sample["words"], *words], "below": below, "newest": newest}

    store.update_note(NOTE, extend)
    checked = summarize(store)
    assert checked is not None, "a sample was drawn"
    return checked


def waiting(store: Store) -> list[Item]:
    """The words of the sample that nobody has reviewed, in the order of drawing."""
    words = [item for item, _ in (store.note(NOTE) or {"words": []})["words"]]
    return [item for item in store.some(words) if item.state == "sure"]


def summarize(store: Store) -> Checked | None:
    """The result of the sample so far; None if no sample was drawn.

    A word is wrong if somebody changed its text or removed the word. An illegible word counts neither as right nor as
    wrong.
    """
    sample = store.note(NOTE)
    if sample is None:
        return None
    drawn = [item for item, _ in sample["words"]]
    words_by_id = {item.id: item for item in store.some(drawn)}
    added_ranks = _rank(sample["seed"], store.ids("sure", sample.get("newest", 0)) if "newest" in sample else [])
    below = min([sample.get("below", _RANKS), *added_ranks.tolist()])
    is_fair = [rank < below for rank in _rank(sample["seed"], drawn).tolist()]
    unreviewed = sum(item.state == "sure" for item in words_by_id.values())
    population = store.counts()["sure"] - unreviewed + len(drawn)
    drawn_words = [(item, as_label(text)) for item, text in sample["words"]]  # earlier versions did not normalize
    counted = [(words_by_id.get(item), text) for (item, text), fair in zip(drawn_words, is_fair, strict=True) if fair]
    illegible = sum(item is not None and item.state == "illegible" for item, _ in counted)
    right = sum(item is not None and item.state == "labeled" and item.text == text for item, text in counted)
    wrong = sum(item is None or (item.state == "labeled" and item.text != text) for item, text in counted)
    low, high = limits(wrong, right + wrong, max(population - illegible, right + wrong))
    share = wrong / (right + wrong) if right + wrong else None
    apart = len(drawn) - len(counted)
    return Checked(sample["seed"], len(counted), right, wrong, illegible, population, share, low, high, apart=apart)


def _rank(seed: int, items: Sequence[int]) -> UInt64[np.ndarray, " items"]:
    """The pseudorandom rank of each word id: SplitMix64 of the id plus a 64-bit offset drawn from the seed.

    The constants are SplitMix64's: Steele, Lea, and Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    mixed = np.array(items, np.uint64) + np.random.default_rng(seed).integers(_RANKS, dtype=np.uint64, endpoint=False)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def limits(wrong: int, checked: int, population: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact confidence limits of the share of wrong words, for a sample without replacement.

    The limits are those of Clopper and Pearson with the hypergeometric distribution in place of the binomial.

    Args:
        wrong: how many of the checked words are wrong.
        checked: how many words were drawn and checked.
        population: how many words the sample was drawn from.
        level: the confidence level, 0 to 1.

    Returns:
        The smallest and the largest share, 0 to 1, that the sample does not reject. Each limit fails with probability
        ``(1 - level) / 2`` at most. Without checked words: 0 and 1.
    """
    if not checked:
        return 0.0, 1.0
    tail = (1 - level) / 2 * (1 - 1e-9)  # a share exactly on the limit is not rejected

    def probability_of_at_most(most: int, bad: int) -> float:
        return sum(_hypergeometric(count, checked, bad, population) for count in range(most + 1))

    least, most = wrong, population - (checked - wrong)
    low, top = least, most
    while low < top:
        middle = (low + top) // 2
        low, top = (low, middle) if 1 - probability_of_at_most(wrong - 1, middle) > tail else (middle + 1, top)
    bottom, high = least, most
    while bottom < high:
        middle = (bottom + high + 1) // 2
        bottom, high = (middle, high) if probability_of_at_most(wrong, middle) > tail else (bottom, middle - 1)
    return low / population, high / population


def _hypergeometric(wrong: int, checked: int, bad: int, population: int) -> float:
    """The probability that ``checked`` drawn words include ``wrong`` of the ``bad`` words in the population."""
    if wrong > bad or checked - wrong > population - bad:
        return 0.0
    log_probability = (
        _log_binomial(bad, wrong)
        + _log_binomial(population - bad, checked - wrong)
        - _log_binomial(population, checked)
    )
    return math.exp(log_probability)


def _log_binomial(count: int, chosen: int) -> float:
    """The natural logarithm of a binomial coefficient."""
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)
