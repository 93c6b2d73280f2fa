"""How many of the words that were accepted unseen are wrong: a random sample of them, which somebody looks at.

Each word has a random rank, and the words of the lowest ranks are drawn. So the sample goes on when words are added to
the set: of those that came, the ones that would have been drawn are drawn next. Until then only the drawn words below
the lowest rank of all that were not drawn count, for they alone are a fair sample of the set as it is.
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
"""The note of a set that holds its sample: the seed, of each word that was drawn the id and the text, and of the last
draw the lowest rank that was not drawn (``below``) and the highest id (``newest``)."""

MOST = 2000  # words of a sample
LEVEL = 0.95  # of the interval
_RANKS = 1 << 64


@dataclass(frozen=True)
class Checked:
    """What a sample tells.

    Attributes:
        seed: of the sample.
        drawn: words of the sample that count.
        right, wrong, illegible: of them, those that somebody has looked at.
        apart: words that were drawn and do not count: others came, of which none are drawn yet.
        population: words that were accepted unseen: those that nobody has looked at yet, and those of the sample.
        share: of wrong ones among those that were looked at and can be read, 0 to 1; None before the first.
        low, high: the limits of the share among all that were accepted unseen, with ``level`` confidence.
        level: of these limits.
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
        """As JSON holds it."""
        return asdict(self)

    def describe(self) -> str:
        """One line for people."""
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
    """Draw words at random among those that were accepted unseen, beside those that were drawn before.

    Args:
        count: how many more; fewer where there are no more.
        seed: of the first draw; later ones go on with it.

    Raises:
        UserError: nothing is there to be drawn, or the sample would be too large.
    """

    def extend(held: Any) -> dict[str, Any]:
        sample = held or {"seed": seed, "words": []}
        known = {item for item, _ in sample["words"]}
        unseen = [item for item in store.ids("sure") if item not in known]
        if not unseen:
            raise UserError(f"{store.folder}: no more word was accepted unseen; there is nothing to draw")
        if len(known) + count > MOST:
            raise UserError(f"a sample of {len(known) + count} words: {MOST} are drawn at most")
        ranks = _rank(sample["seed"], unseen)
        order = np.argsort(ranks)
        words = [[item.id, item.text] for item in store.some([unseen[place] for place in order[:count].tolist()])]
        below = int(ranks[order[count]]) if count < len(unseen) else _RANKS
        newest = max(unseen[-1], max(known, default=0))
        return {**sample, "words": [*sample["words"], *words], "below": below, "newest": newest}

    store.update_note(NOTE, extend)
    checked = summarize(store)
    assert checked is not None, "a sample was drawn"
    return checked


def waiting(store: Store) -> list[Item]:
    """The words of the sample that nobody has looked at, in the order in which they were drawn."""
    words = [item for item, _ in (store.note(NOTE) or {"words": []})["words"]]
    return [item for item in store.some(words) if item.state == "sure"]


def summarize(store: Store) -> Checked | None:
    """What the sample tells by now; None where none was drawn.

    A word is wrong where somebody gave it another text, or took it away. An illegible one tells nothing.
    """
    sample = store.note(NOTE)
    if sample is None:
        return None
    drawn = [item for item, _ in sample["words"]]
    held = {item.id: item for item in store.some(drawn)}
    came = _rank(sample["seed"], store.ids("sure", sample.get("newest", 0)) if "newest" in sample else [])
    below = min([sample.get("below", _RANKS), *came.tolist()])
    counts = [rank < below for rank in _rank(sample["seed"], drawn).tolist()]
    waits = sum(item.state == "sure" for item in held.values())
    population = store.counts()["sure"] - waits + len(drawn)
    words = [(item, as_label(text)) for item, text in sample["words"]]  # earlier versions kept what was read as it was
    seen = [(held.get(item), text) for (item, text), fair in zip(words, counts, strict=True) if fair]
    illegible = sum(item is not None and item.state == "illegible" for item, _ in seen)
    right = sum(item is not None and item.state == "labeled" and item.text == text for item, text in seen)
    wrong = sum(item is None or (item.state == "labeled" and item.text != text) for item, text in seen)
    low, high = limits(wrong, right + wrong, max(population - illegible, right + wrong))
    share = wrong / (right + wrong) if right + wrong else None
    apart = len(drawn) - len(seen)
    return Checked(sample["seed"], len(seen), right, wrong, illegible, population, share, low, high, apart=apart)


def _rank(seed: int, items: Sequence[int]) -> UInt64[np.ndarray, " items"]:
    """The random rank of each word, which depends on nothing but the seed and its id (SplitMix64 of both)."""
    mixed = np.array(items, np.uint64) + np.random.default_rng(seed).integers(_RANKS, dtype=np.uint64, endpoint=False)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def limits(wrong: int, checked: int, population: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact limits of the share of wrong words (Clopper-Pearson, for a sample without replacement).

    Args:
        wrong: of the ``checked`` words, which were drawn from ``population``.

    Returns:
        The least and the largest share that are not refuted; each side is missed with half of ``1 - level`` at most.
    """
    if not checked:
        return 0.0, 1.0
    tail = (1 - level) / 2 * (1 - 1e-9)  # what lies on the limit is not refuted

    def at_most(most: int, bad: int) -> float:
        return sum(_chance(each, checked, bad, population) for each in range(most + 1))

    least, most = wrong, population - (checked - wrong)
    low, top = least, most
    while low < top:
        middle = (low + top) // 2
        low, top = (low, middle) if 1 - at_most(wrong - 1, middle) > tail else (middle + 1, top)
    bottom, high = least, most
    while bottom < high:
        middle = (bottom + high + 1) // 2
        bottom, high = (middle, high) if at_most(wrong, middle) > tail else (bottom, middle - 1)
    return low / population, high / population


def _chance(wrong: int, checked: int, bad: int, population: int) -> float:
    """The chance that of ``checked`` words so many are among the ``bad`` ones (hypergeometric)."""
    if wrong > bad or checked - wrong > population - bad:
        return 0.0
    ways = _ways(bad, wrong) + _ways(population - bad, checked - wrong) - _ways(population, checked)
    return math.exp(ways)


def _ways(count: int, chosen: int) -> float:
    """The logarithm of a binomial coefficient."""
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)
