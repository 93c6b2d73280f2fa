"""Batches as a pure function of the step: any workers, any restart, any rank; and errors that come out in one piece."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.size import CropSize
from dptr.data.crops import LabeledCrops
from dptr.data.loader import batches, text_batch
from dptr.data.report import DropReport
from dptr.data.sources import (
    Curriculum,
    LabeledSource,
    LengthBuckets,
    Mixture,
    WeightedMixture,
)
from dptr.synth import Renderer
from dptr.synth.source import RenderedWords
from dptr.text.charset import Charset, resolve_charset
from dptr.text.corpus import Corpus
from dptr.utils.dealing import whole_weights
from dptr.utils.errors import UserError
from dptr.utils.permutations import seeded_order

SIZE = {"height": 16, "width": 32}


@dataclass(frozen=True)
class Numbered:
    """Sample i is a crop full of i and the word "i"; it remembers what it was asked for."""

    asked: list[int] = field(default_factory=list)

    def sample(self, index: int):
        self.asked.append(index)
        word = str(index)
        return np.full((2, 3, 3), index % 256, np.uint8), word, np.full((len(word), 2), index, np.float32)

    def word(self, index: int) -> str:
        return str(index)


@dataclass(frozen=True)
class Failing:
    """Sample 37 fails."""

    error: Exception

    def sample(self, index: int):
        if index == 37:
            raise self.error
        return Numbered().sample(index)


@dataclass(frozen=True)
class Deadly:
    """Sample 5 kills the worker that draws it, once it may."""

    may: Event

    def sample(self, index: int):
        if index == 5:
            assert get_worker_info() is not None and self.may.wait(60)
            os.kill(os.getpid(), signal.SIGKILL)
        return Numbered().sample(index)


def crops(count: int, shape: tuple[int, int] = (16, 32)) -> LabeledCrops:
    arrays = np.random.default_rng(0).integers(0, 256, (count, *shape, 3), dtype=np.uint8)
    names = [f"w{index}" for index in range(count)]
    return LabeledCrops(arrays, names, names, [0] * count, DropReport())


def random_words(seed: int = 0) -> Corpus:
    config = CorpusConfig(sources=(SourceConfig(kind="pattern", patterns=("random",)),), heldout=0)
    return Corpus(config, resolve_charset("36"), 12, seed)


def listed_words(folder: Path, words: list[str], characters: str) -> Corpus:
    (folder / "words.txt").write_text("\n".join(words), encoding="utf-8")
    source = SourceConfig(kind="file", path=str(folder / "words.txt"))
    config = CorpusConfig(sources=(source,), heldout=0, punctuation=0)
    return Corpus(config, Charset("test", tuple(characters)), 12, 0)


@pytest.fixture(scope="module")
def renderer(font_folder) -> Renderer:
    return Renderer(RenderConfig(fonts=(str(font_folder),)), 0, size=CropSize(**SIZE))


def same(first, second) -> bool:
    """Two lists of batches, bit for bit."""
    return len(first) == len(second) and all(
        np.array_equal(a[0], b[0]) and a[1] == b[1] and np.array_equal(a[2], b[2], equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


# --- batches ----------------------------------------------------------------------------------------------------------


def test_steps_hold_consecutive_samples():
    for step, (arrays, words, stops) in enumerate(batches(Numbered(), 5, 1, 4, workers=0), start=1):
        assert words == [str(index) for index in range(5 * step, 5 * step + 5)]
        assert arrays.shape == (5, 2, 3, 3) and arrays.dtype == np.uint8
        assert arrays[:, 0, 0, 0].tolist() == list(map(int, words))
        assert stops.shape == (5, max(map(len, words)), 2)
        for word, places in zip(words, stops, strict=True):
            assert np.all(places[: len(word)] == int(word)) and np.isnan(places[len(word) :]).all()


def test_workers_and_restarts_change_nothing(renderer):
    """Augmented and rendered crops, bit for bit: with 0, 1, 2 workers, uninterrupted or resumed at any step."""
    source = Mixture(LabeledSource(crops(7), 3, 1.0), RenderedWords(random_words(), renderer), 0.4)
    state = torch.get_rng_state()
    whole = list(batches(source, 6, 0, 7, workers=0))
    assert len(whole) == 7
    for workers in (1, 2):
        assert same(list(batches(source, 6, 0, 7, workers)), whole)
        assert same(list(batches(source, 6, 3, 7, workers)), whole[3:])
    for step in range(8):
        assert same(list(batches(source, 6, step, 7, workers=0)), whole[step:])
    assert torch.equal(torch.get_rng_state(), state)  # nobody's generator is drawn from


@pytest.mark.parametrize(("size", "processes"), [(8, 2), (8, 4), (9, 2), (5, 5)])
def test_ranks_share_a_batch(size, processes):
    whole = list(batches(Numbered(), size, 2, 5, workers=0))
    parts = [list(batches(Numbered(), size, 2, 5, 0, rank, processes)) for rank in range(processes)]
    for step, (_, words, _) in enumerate(whole):
        shares = [part[step][1] for part in parts]
        assert [word for share in shares for word in share] == words
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("size", "processes", "workers"), [(8, 2, 1), (8, 3, 0), (5, 5, 0), (26, 4, 0)])
def test_epochs_are_exact_over_processes(size, processes, workers):
    """13 crops, batches that do not divide them: epoch after epoch each crop once, and no rank sees it twice."""
    source = LabeledSource(crops(13), 5, 0.0)
    steps = 13 * 2  # 2 * size epochs
    parts = [list(batches(source, size, 0, steps, workers, rank, processes)) for rank in range(processes)]
    words = [word for step in range(steps) for part in parts for word in part[step][1]]
    assert len(words) == 26 * size
    for start in range(0, len(words), 13):
        assert sorted(words[start : start + 13]) == sorted(source.crops.labels)


def test_fewer_crops_than_processes():
    with pytest.raises(UserError, match=r"^run\.batch_size = 2 leaves some of 3 processes without a crop"):
        next(batches(Numbered(), 2, 0, 5, 0, 0, 3))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_every_rank_gets_both_kinds_of_crops(share, renderer):
    """Evenly spread samples dealt out in turn would give one process all rendered crops, and its BatchNorm too."""
    source = Mixture(LabeledSource(crops(7), 3, 0.0), RenderedWords(random_words(), renderer), share)
    for rank in range(2):
        _, words, _ = next(iter(batches(source, 16, 0, 1, 0, rank, 2)))
        labeled = sum(word in source.labeled.crops.labels for word in words)
        assert labeled == round((1 - share) * 8)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_user_error_comes_out_as_it_is(workers):
    got = []
    with pytest.raises(UserError) as caught:
        for _, words, _ in batches(Failing(UserError("crop 37: torn; rules; glue it")), 5, 0, 20, workers):
            got += words
    assert str(caught.value) == "crop 37: torn; rules; glue it"
    assert got == [str(index) for index in range(35)]  # all whole batches before it


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_is_not_dressed_up_as_bad_input(workers):
    with pytest.raises(RuntimeError, match="a bug in a worker"):
        list(batches(Failing(RuntimeError("a bug in a worker")), 5, 0, 20, workers))


def test_a_worker_that_dies_is_a_user_error(monkeypatch):
    """Of the next batch that is asked for, not of whatever the training step does at the moment of death."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.1,))  # torch looks each 5 s
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)  # and waits as long for the dead
    may = multiprocessing.Event()
    stream = batches(Deadly(may), 5, 0, 20, workers=1)
    assert next(stream)[1] == ["0", "1", "2", "3", "4"]
    may.set()
    time.sleep(0.3)
    with pytest.raises(UserError, match=r"a data worker died .*run\.workers=0") as caught:
        list(stream)
    assert "\n" not in str(caught.value)


# --- sources ----------------------------------------------------------------------------------------------------------


def test_every_epoch_shows_every_crop_once_in_a_new_order():
    source = LabeledSource(crops(13), 5, 0.0)
    epochs = [[source.sample(13 * epoch + place)[1] for place in range(13)] for epoch in range(4)]
    for labels in epochs:
        assert sorted(labels) == sorted(source.crops.labels)
    assert len(set(map(tuple, epochs))) == 4
    assert [LabeledSource(crops(13), 6, 0.0).sample(place)[1] for place in range(13)] != epochs[0]


def test_labels_stay_with_their_crops():
    source = LabeledSource(crops(13), 5, 0.0)
    for index in range(40):
        crop, label, stops = source.sample(index)
        assert stops.shape == (len(label), 2) and np.isnan(stops).all()
        assert np.array_equal(crop, source.crops.arrays[int(label[1:])])


def test_augmentation_is_a_function_of_the_index():
    source, plain = LabeledSource(crops(5), 5, 1.0), LabeledSource(crops(5), 5, 0.0)
    before = source.crops.arrays.copy()
    seen: dict[str, list[bytes]] = {}
    for index in range(40):
        crop, label, _ = source.sample(index)
        assert crop.shape == (16, 32, 3) and crop.dtype == np.uint8
        assert np.array_equal(crop, source.sample(index)[0]) and label == plain.sample(index)[1]
        seen.setdefault(label, []).append(crop.tobytes())
    assert all(len(set(versions)) > 5 for versions in seen.values())  # of 8 epochs
    assert np.array_equal(source.crops.arrays, before)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 0.5, 0.7, 0.999, 1.0])
def test_mixtures_keep_their_share_and_leave_no_gaps(share):
    rendered, labeled = Numbered(), Numbered()
    source = Mixture(labeled, rendered, share)
    for index in range(1000):
        source.sample(index)
        assert abs(len(rendered.asked) - share * (index + 1)) < 1 + 1e-9  # at every moment, not only at the end
    assert rendered.asked == list(range(len(rendered.asked)))
    assert labeled.asked == list(range(len(labeled.asked)))
    assert len(rendered.asked) + len(labeled.asked) == 1000


def test_mixtures_give_what_their_sources_give(renderer):
    labeled, rendered = LabeledSource(crops(7), 3, 0.0), RenderedWords(random_words(), renderer)
    source = Mixture(labeled, rendered, 0.5)
    for index in range(10):
        crop, word, _ = source.sample(index)
        expected, label, _ = (labeled, rendered)[index % 2].sample(index // 2)
        assert word == label and np.array_equal(crop, expected)


WEIGHTS = [(3, 1), (1, 1, 1), (1, 2, 3, 4), (0.5, 0.3, 0.2), (1, 1000), (7, 7, 0.01, 2.5), (5,), (1,) * 12]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_weighted_supplies_are_drawn_in_their_proportion(weights):
    """Exact after every period, near the proportion at any moment, and nobody's indices have gaps."""
    whole = whole_weights(weights)
    period = sum(whole)
    assert [Fraction(part, period) for part in whole] == [
        Fraction(str(w)) / sum(map(Fraction, map(str, weights))) for w in weights
    ]
    supplies = tuple(Numbered() for _ in weights)
    source = WeightedMixture(supplies, whole)
    for index in range(max(2000, 2 * period)):
        source.sample(index)
        counts = [len(supply.asked) for supply in supplies]
        assert sum(counts) == index + 1
        ideal = [(index + 1) * part / period for part in whole]
        assert max(abs(count - exact) for count, exact in zip(counts, ideal, strict=True)) < 1 + np.log(len(weights))
        if (index + 1) % period == 0:
            assert counts == [(index + 1) // period * part for part in whole]
    assert all(supply.asked == list(range(len(supply.asked))) for supply in supplies)


def test_a_set_is_used_up_before_a_crop_of_it_comes_again():
    few, many = LabeledSource(crops(3), 5, 0.0), LabeledSource(crops(50, (8, 8)), 6, 0.0)
    source = WeightedMixture((few, many), (2, 1))
    drawn = [source.sample(index) for index in range(150)]
    for supply, height, expected in ((few, 16, 100), (many, 8, 50)):
        words = [word for crop, word, _ in drawn if len(crop) == height]
        assert len(words) == expected
        size = len(supply.crops)
        for start in range(0, expected - size + 1, size):
            assert sorted(words[start : start + size]) == sorted(supply.crops.labels)
    assert [source.word(index) for index in range(150)] == [word for _, word, _ in drawn]


def test_weights_workers_and_restarts_change_nothing():
    source = WeightedMixture((LabeledSource(crops(7), 3, 1.0), LabeledSource(crops(20), 4, 1.0)), (2, 3))
    source = LengthBuckets(source, 6, 3, 0)
    whole = list(batches(source, 6, 0, 10, workers=0))
    for workers, first in ((0, 4), (1, 0), (2, 5)):
        assert same(list(batches(source, 6, first, 10, workers)), whole[first:])
    fresh = LengthBuckets(
        WeightedMixture((LabeledSource(crops(7), 3, 1.0), LabeledSource(crops(20), 4, 1.0)), (2, 3)), 6, 3, 0
    )
    for step in reversed(range(10)):
        assert same(list(batches(fresh, 6, step, step + 1, 0)), whole[step : step + 1])


@dataclass(frozen=True)
class Lengths(Numbered):
    """Sample i has a word of a random length, and says i where stops are."""

    def word(self, index: int) -> str:
        return "x" * (1 + int(np.random.default_rng(index).integers(12)))

    def sample(self, index: int):
        self.asked.append(index)
        return np.zeros((2, 3, 3), np.uint8), self.word(index), index


@pytest.mark.parametrize(("size", "pool"), [(8, 16), (5, 3), (1, 4)])
def test_buckets_hold_the_same_samples_by_length(size, pool):
    plain, count = Lengths(), size * pool
    source = LengthBuckets(Lengths(), size, pool, 3)
    lengths: list[list[int]] = []
    for first in (0, 2 * count):
        drawn = [source.sample(index) for index in range(first, first + count)]
        indices = [index for *_, index in drawn]
        assert sorted(indices) == list(range(first, first + count))  # each once
        assert [word for _, word, _ in drawn] == [plain.word(index) for index in indices]
        assert [source.word(index) for index in range(first, first + count)] == [word for _, word, _ in drawn]
        cut = [drawn[start : start + size] for start in range(0, count, size)]
        assert all(
            [index for *_, index in batch] == sorted(index for *_, index in batch) for batch in cut
        )  # evenly spread kinds stay so
        lengths = [sorted(len(word) for _, word, _ in batch) for batch in cut]
        ordered = [lengths[place] for place in np.argsort(seeded_order(3, first // count, pool))]
        assert all(short[-1] <= long[0] for short, long in pairwise(ordered))  # cut from the sorted pool
    assert lengths != sorted(lengths) or pool == 3


def test_words_of_supplies_are_those_of_their_samples(renderer):
    labeled, rendered = LabeledSource(crops(7), 3, 0.5), RenderedWords(random_words(), renderer)
    for source in (Mixture(labeled, rendered, 0.3), Curriculum(labeled, rendered, 20)):
        assert [source.word(index) for index in range(30)] == [source.sample(index)[1] for index in range(30)]


def test_rendered_samples_are_the_corpus_drawn(renderer):
    source = RenderedWords(random_words(), renderer)
    for index in range(5):
        crop, word, stops = source.sample(index)
        np.testing.assert_array_equal(stops, renderer.render_with_stops(word, index)[1])
        assert word == source.corpus.word(index)
        assert np.array_equal(crop, renderer.render(word, index))


@dataclass(frozen=True)
class Signed:
    """Samples that say only who made them."""

    name: str

    def sample(self, index: int):
        return self.name, index, None


def test_a_plain_renderer_gives_way_evenly():
    source = Curriculum(Signed("plain"), Signed("full"), 1000)
    full = [source.sample(index)[0] == "full" for index in range(1500)]
    assert not full[0] and all(full[1000:])
    for start in range(0, 1000, 100):
        assert abs(sum(full[start : start + 100]) - (start + 50) / 10) <= 3  # the share of full ones is index / ramp
    assert [source.sample(index)[1] for index in range(20)] == list(range(20))


def test_words_that_no_font_draws_give_way_and_are_counted(tmp_path, renderer):
    corpus = listed_words(tmp_path, ["ab", "中文", "ba", "a中"], "ab中文")
    source = RenderedWords(corpus, renderer)
    words = [corpus.word(index) for index in range(200)]
    missing = sum("中" in word for word in words)
    assert 50 < missing < 150
    drawn = [source.word(index) for index in range(200)]
    assert set(map(str.lower, drawn)) == {"ab", "ba"}
    assert all(word == got for word, got in zip(words, drawn, strict=True) if "中" not in word)
    assert source.undrawable(200) == {"no font draws it": missing}
    assert RenderedWords(listed_words(tmp_path, ["ab", "ba"], "ab"), renderer).undrawable(50) == {}


def test_a_corpus_that_no_font_draws_is_refused(tmp_path, renderer):
    with pytest.raises(UserError, match=r"no font draws them; install fonts") as caught:
        RenderedWords(listed_words(tmp_path, ["中文"], "中文"), renderer).sample(0)
    assert "\n" not in str(caught.value)


# --- words of stage 1 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "pool"), [(8, 16), (5, 3), (1, 4), (8, 1)])
def test_a_pool_of_steps_holds_its_samples_once(size, pool):
    corpus = random_words()
    for start in (0, 2 * pool):
        got = Counter(word for step in range(start, start + pool) for word in text_batch(corpus, size, step, pool))
        assert got == Counter(corpus.word(index) for index in range(start * size, (start + pool) * size))


def test_batches_hold_words_of_about_one_length():
    corpus = random_words()
    lengths = [sorted(map(len, text_batch(corpus, 8, step, 16))) for step in range(16)]
    ordered = sorted(lengths)
    assert all(short[-1] <= long[0] for short, long in pairwise(ordered))  # cut from the sorted pool
    assert ordered[0][-1] < ordered[-1][0] and ordered != lengths  # which do not come from short to long


def test_a_pool_of_one_keeps_the_order_of_the_corpus():
    corpus = random_words()
    for step in range(3):
        assert text_batch(corpus, 8, step, 1) == [corpus.word(index) for index in range(8 * step, 8 * step + 8)]


def test_text_batches_are_a_function_of_the_step():
    forward = [text_batch(random_words(), 8, step, 4) for step in range(12)]
    corpus = random_words()
    assert [text_batch(corpus, 8, step, 4) for step in reversed(range(12))] == forward[::-1]
    other = [text_batch(random_words(seed=1), 8, step, 4) for step in range(12)]
    assert other != forward
