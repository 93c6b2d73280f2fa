"""Batches of one size: each sample of the mixture, in its share, and never two sizes in one batch."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest

from dptr.data import size_batches
from dptr.data.crops import LabeledCrops
from dptr.data.loader import batches
from dptr.data.report import DropReport
from dptr.data.size_batches import BlockBatches, _group, batch_by_size, in_size_batches, parts_of
from dptr.data.sources import LabeledSource, Mixture, Source, WeightedMixture
from dptr.utils.sizes import Size, VariableSizeCrops

SQUARE, HIGH, WIDE, WIDEST = (16, 16), (12, 24), (8, 32), (8, 64)
BATCH = 4


def labeled(counts: dict[Size, int], name: str, seed: int = 0) -> LabeledSource:
    """Crops whose pixels all hold their own number, labels that tell set and number."""
    sizes = [size for size, count in counts.items() for _ in range(count)]
    crops = [np.full((*size, 3), number % 256, np.uint8) for number, size in enumerate(sizes)]
    labels = [f"{name}{number}" for number in range(len(crops))]
    crops_of = LabeledCrops(VariableSizeCrops(crops), labels, labels, [0] * len(crops), DropReport())
    return LabeledSource(crops_of, seed, 0.0)


def test_batches_are_of_one_size_and_hold_all_crops_about_as_often() -> None:
    source = labeled({SQUARE: 8, HIGH: 16, WIDE: 24}, "a")
    mixed, messages = batch_by_size([(source, 1.0)], BATCH)
    assert messages == ["batches of one size: 16x16 16.7%, 12x24 33.3%, 8x32 50.0%"]
    seen: Counter[str] = Counter()
    sizes = []
    for crops, words, _ in batches(mixed, BATCH, 0, 60, 0):  # 5 times 48 crops
        sizes.append(crops.shape[1:3])
        assert [int(crop.max()) for crop in crops] == [int(word[1:]) for word in words]
        seen.update(words)
    assert set(seen.values()) <= {4, 5, 6} and len(seen) == 48
    for size, share in ((SQUARE, 1 / 6), (HIGH, 1 / 3), (WIDE, 1 / 2)):  # evenly spread from the start on
        assert all(abs(sizes[:steps].count(size) - share * steps) < 2 for steps in range(61))


def test_processes_get_parts_of_the_same_batches() -> None:
    mixed, _ = batch_by_size([(labeled({SQUARE: 9, WIDE: 30}, "a"), 1.0)], BATCH)
    whole = list(batches(mixed, BATCH, 3, 9, 0))
    halves = [list(batches(mixed, BATCH, 3, 9, 0, rank, 2)) for rank in range(2)]
    for (crops, words, _), (one, first, _), (two, second, _) in zip(whole, *halves, strict=True):
        assert words == first + second and np.array_equal(crops, np.concatenate([one, two]))
    assert [mixed.word(index) for index in range(12, 16)] == whole[0][1]


def test_shares_of_a_mixture_hold_in_all_sizes_together() -> None:
    """Weights say how much of all samples a set has; its own sizes say in which batches."""
    few, many = labeled({SQUARE: 20, WIDE: 20}, "few", 1), labeled({WIDE: 100, WIDEST: 300}, "many", 2)
    rendered = labeled({SQUARE: 100, WIDE: 100}, "pack", 3)
    source = Mixture(WeightedMixture((few, many), (3, 1)), rendered, 0.5)
    parts = parts_of(source)
    assert [(part.crops.labels[0][:4], share) for part, share in parts] == [  # type: ignore[attr-defined]
        ("few0", 0.375), ("many", 0.125), ("pack", 0.5),
    ]  # fmt: skip
    mixed, _ = batch_by_size(parts, BATCH)
    found: Counter[tuple[str, Size]] = Counter()
    steps = 4000
    for index in range(steps * BATCH):
        crop, word, _ = mixed.sample(index)
        found[word.rstrip("0123456789"), crop.shape[:2]] += 1
    expected = {
        ("few", SQUARE): 0.1875, ("few", WIDE): 0.1875, ("many", WIDE): 0.03125, ("many", WIDEST): 0.09375,
        ("pack", SQUARE): 0.25, ("pack", WIDE): 0.25,
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for key, share in expected.items():
        assert found[key] / (steps * BATCH) == pytest.approx(share, abs=0.002), key


def test_crops_of_a_rare_size_join_the_nearest_common_one() -> None:
    source = labeled({SQUARE: 3, HIGH: 40, WIDE: 40, WIDEST: 2}, "a")
    mixed, messages = batch_by_size([(source, 1.0)], BATCH)
    assert messages[0].endswith("; 5 crops of rare sizes are stretched to the nearest, up to 2.0 times")
    where: dict[str, Size] = {}
    for crops, words, _ in batches(mixed, BATCH, 0, 200, 0):
        where |= dict.fromkeys(words, crops.shape[1:3])
    assert {where[f"a{number}"] for number in range(43)} == {HIGH} and len(where) == 85
    assert {where[f"a{number}"] for number in range(43, 85)} == {WIDE}


def test_a_common_size_far_from_all_others_keeps_its_own_batches() -> None:
    longest = (WIDE[0], 8 * WIDE[1])
    mixed, messages = batch_by_size([(labeled({WIDE: 60, longest: 6}, "a"), 1.0)], BATCH)
    assert "stretched" not in messages[0]
    sizes = Counter(crops.shape[1:3] for crops, _, _ in batches(mixed, BATCH, 0, 110, 0))
    assert sizes == {WIDE: 100, longest: 10}


def test_a_single_crop_far_from_all_others_is_no_batch_of_copies() -> None:
    longest = (WIDE[0], 8 * WIDE[1])
    mixed, messages = batch_by_size([(labeled({WIDE: 60, longest: 1}, "a"), 1.0)], BATCH)
    assert messages == [
        "batches of one size: 8x32 100.0%; 1 crops of rare sizes are stretched to the nearest, up to 8.0 times"
    ]
    used = Counter(word for _, words, _ in batches(mixed, BATCH, 0, 61, 0) for word in words)
    assert set(used.values()) == {4} and len(used) == 61


def test_few_long_crops_take_the_next_ones_along() -> None:
    """Three lines and words: of all groups of four or more, {4, 16, 16, 16} times as wide stretches least at 16."""
    line = (WIDE[0], 4 * WIDE[1])
    _, messages = batch_by_size([(labeled({SQUARE: 40, WIDE: 1, line: 3}, "a"), 1.0)], BATCH)
    assert messages[0].startswith("batches of one size: 16x16 90.9%, 8x128 9.1%; 1 crops")


def test_few_crops_have_two_sizes_where_copies_in_a_batch_are_inevitable() -> None:
    """Three crops in batches of four: a size with a third of them has its own batches."""
    _, messages = batch_by_size([(labeled({SQUARE: 2, WIDE: 1}, "a"), 1.0)], BATCH)
    assert messages == ["batches of one size: 16x16 66.7%, 8x32 33.3%"]


def test_words_of_one_length_come_together_within_a_size() -> None:
    source = labeled({SQUARE: 120, WIDE: 120}, "a")  # labels of two, three and four characters
    mixed, _ = batch_by_size([(source, 1.0)], BATCH, pool=10)
    spreads = [len({len(word) for word in words}) for _, words, _ in batches(mixed, BATCH, 0, 60, 0)]
    assert np.mean(spreads) < 1.4


class Made:
    """Crops of sizes that nobody knows before, each with its number as its word; it tells what it was asked for.

    The first ``SAMPLED`` are asked for beforehand, to see of which sizes they are.
    """

    def __init__(self) -> None:
        self.asked: list[int] = []

    def sample(self, index: int) -> tuple[np.ndarray, str, np.ndarray]:
        self.asked.append(index)
        size = (SQUARE, WIDE, WIDE)[(index * 7919) % 3]
        return np.full((*size, 3), index % 256, np.uint8), f"made{index}", np.full((1, 2), index, np.float32)

    def word(self, index: int) -> str:
        return f"made{index}"


def test_crops_made_during_training_come_in_batches_of_one_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_batches, "BLOCK", 60)
    source = Mixture(labeled({SQUARE: 12, WIDE: 24}, "a"), Made(), 0.5)
    mixed, messages = in_size_batches(source, BATCH)
    assert isinstance(mixed, BlockBatches) and mixed.steps == 30
    assert messages == [
        "batches of one size: 16x16 33.4%, 8x32 66.6%",
        "up to 60 crops are rendered at a time, for 30 batches",
    ]
    seen: Counter[str] = Counter()
    for crops, words, stops in batches(mixed, BATCH, 0, 180, 0):  # six blocks
        assert len({crop.shape for crop in crops}) == 1
        seen.update(words)
        for word, crop, places in zip(words, crops, stops, strict=True):
            number = int(word.removeprefix("made")) if word.startswith("made") else None
            assert number is None or (int(crop.max()) == number % 256 and places[0, 0] == number)
    made = {word: count for word, count in seen.items() if word.startswith("made")}
    assert sum(made.values()) == pytest.approx(360, abs=6) and len(made) > 330 and max(made.values()) <= 2
    held = [count for word, count in seen.items() if word.startswith("a")]
    assert len(held) == 36 and set(held) <= {9, 10, 11}, "labeled crops go on from block to block: ten epochs"


def test_crops_made_during_training_are_seen_about_once_when_sorted_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_batches, "BLOCK", 60)
    mixed, _ = in_size_batches(Mixture(labeled({SQUARE: 12, WIDE: 24}, "a"), Made(), 0.5), BATCH, pool=16)
    drawn = Counter(word for _, words, _ in batches(mixed, BATCH, 0, 180, 0) for word in words)
    made = {word: count for word, count in drawn.items() if word.startswith("made")}
    assert len(made) > 330 and max(made.values()) <= 2


def test_crops_made_during_training_are_a_function_of_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on in the third block, or two processes, get what one run from the start got."""
    monkeypatch.setattr(size_batches, "BLOCK", 60)
    whole, _ = in_size_batches(Mixture(labeled({SQUARE: 12, WIDE: 24}, "a"), Made(), 0.5), BATCH)
    late = Made()
    again, _ = in_size_batches(Mixture(labeled({SQUARE: 12, WIDE: 24}, "a"), late, 0.5), BATCH)
    expected = [whole.word(index) for index in range(180 * BATCH)]
    late.asked.clear()
    for index in (70 * BATCH, 71 * BATCH + 1, 65 * BATCH, 179 * BATCH, 70 * BATCH):
        assert again.sample(index)[1] == again.word(index) == expected[index]
    blocks = {60: 0, 150: 0}  # how many are made before the block, by its first step
    for begin in blocks:
        words = {word for word in expected[: begin * BATCH] if word.startswith("made")}
        blocks[begin] = len(words)
        assert words == {f"made{number}" for number in range(len(words))}, "each once, from block to block"
    assert set(late.asked) == {number for made in blocks.values() for number in range(made, made + 60)}


def test_few_crops_are_made_before_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 10, 10, 20, 40 steps, then of 80; each makes the crops of its own steps, none twice, none left out."""
    monkeypatch.setattr(size_batches, "BLOCK", 160)
    made = Made()
    mixed, _ = in_size_batches(Mixture(labeled({SQUARE: 12, WIDE: 24}, "a"), made, 0.5), BATCH)
    assert made.asked == list(range(size_batches.SAMPLED))
    made.asked.clear()
    known, drawn = [], []
    for step in range(240):
        drawn += [word for index in range(step * BATCH, (step + 1) * BATCH) if "made" in (word := mixed.word(index))]
        known.append(len(made.asked))
    ends = [10, 20, 40, 80, 160, 240]  # of the blocks
    assert [known.count(count) for count in sorted(set(known))] == [10, 10, 20, 40, 80, 80]
    assert all(known[end - 1] == pytest.approx(2 * end, abs=3) for end in ends)
    assert made.asked == list(range(known[-1])) and len(drawn) == len(set(drawn)) == known[-1]


SIZES = [(48, width) for width in range(64, 961, 32)]  # those of ``dptr-latin``


def shaped(count: int, seed: int, name: str, typical: float = 3.2) -> LabeledSource:
    """Crops whose shapes are as unlike as those of words, one of them a long line."""
    shapes = np.exp(np.random.default_rng(seed).normal(np.log(typical), 0.45, count))
    shapes[0] = 16.0
    return labeled(Counter(min(SIZES, key=lambda size: abs(size[1] / 48 - shape)) for shape in shapes), name, seed)


class MadeShapes(Made):
    """As words: some 30 sizes, most of them rare."""

    def sample(self, index: int) -> tuple[np.ndarray, str, np.ndarray]:
        shape = np.exp(np.random.default_rng(index).normal(np.log(3.5), 0.5))
        size = min(SIZES, key=lambda size: abs(size[1] / 48 - shape))
        return np.zeros((*size, 3), np.uint8), f"made{index}", np.zeros((1, 2), np.float32)


def mixtures() -> dict[str, Source]:
    few, many = shaped(90, 1, "few", 5.0), shaped(500, 2, "many")
    sets = WeightedMixture((many, few), (3, 1))
    return {
        "one set": many,
        "half rendered": Mixture(many, MadeShapes(), 0.5),
        "sets with weights, half rendered": Mixture(sets, MadeShapes(), 0.5),
        "sets with weights, and a pack": Mixture(sets, shaped(2000, 3, "pack", 4.0), 0.5),
    }


@pytest.mark.parametrize("pool", [1, 16])
@pytest.mark.parametrize("name", list(mixtures()))
def test_no_crop_of_a_set_gets_ahead_of_another(name: str, pool: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every step, though a batch has 64 crops of one size, blocks begin and end, and sizes are rare."""
    monkeypatch.setattr(size_batches, "BLOCK", 2048)
    source = mixtures()[name]
    known = [(part.crops.labels, share) for part, share in parts_of(source) if isinstance(part, LabeledSource)]
    mixed, _ = in_size_batches(source, 64, pool)
    used: Counter[str] = Counter()
    for step in range(120):
        batch = Counter(mixed.word(index) for index in range(64 * step, 64 * (step + 1)))
        assert max(batch.values()) <= 2, "twice where one epoch of a size ends and the next begins"
        used.update(batch)
        for labels, _ in known:
            counts = [used[word] for word in labels]
            assert max(counts) - min(counts) <= (3 if pool == 1 else 4)
    for labels, share in known:
        assert sum(used[word] for word in labels) == pytest.approx(120 * 64 * share, rel=0.03)


def test_homes_are_of_all_groups_those_that_stretch_least() -> None:
    """Against all ways to cut 7 sizes, and all homes."""
    generator = np.random.default_rng(0)
    for _ in range(40):
        widths = np.sort(generator.choice(np.arange(1, 60), 7, replace=False))
        counts = generator.integers(1, 12, 7)
        shares = [Fraction(int(count), int(counts.sum())) for count in counts]
        sizes = [(8, 8 * int(width)) for width in widths]
        rate = Fraction(1, int(counts.sum()))
        found = _group({size: (share, rate) for size, share in zip(sizes, shares, strict=True)}, 9)
        assert [size for _, kept in found for size in kept] == sizes
        spent = sum(np.log(size[1] / home[1]) ** 2 * counts[sizes.index(size)] for home, kept in found for size in kept)
        cuts = [cut for number in range(7) for cut in combinations(range(1, 7), number)]
        assert spent == pytest.approx(min(_stretch(widths, counts, (0, *cut, 7)) for cut in cuts))


def _stretch(widths: np.ndarray, counts: np.ndarray, cut: tuple[int, ...]) -> float:
    """What a cut costs at its best homes; infinite where a group has neither nine crops nor a quarter of all."""
    cost = 0.0
    for start, end in pairwise(cut):
        if counts[start:end].sum() < min(9, counts.sum() / 4):
            return float("inf")
        logs = np.log(widths[start:end])
        cost += min(float((logs - home) ** 2 @ counts[start:end]) for home in logs)
    return cost
