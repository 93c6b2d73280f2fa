"""Words of shards: each once an epoch, in the split and the charset, mixed with other sources by weight."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import pytest
from helpers_shards import WRITERS, write_shards

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.data.loader import text_batch
from dptr.text import streamed
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.rules import Limit, is_heldout
from dptr.utils.errors import UserError

WORDS = [f"w{number}" for number in range(400)]
ENTRIES = [*WORDS[:200], "", "ß", "x" * 9, "Ünter", *WORDS[200:], "w3"]  # w3 stands there twice


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "WINDOW", 50)


@pytest.fixture(params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(write_shards(tmp_path / "words", request.param, ENTRIES))


def corpus(
    *sources: SourceConfig, split: str = "train", seed: int = 3, limit: Limit | None = None, charset: str = "62", **more
) -> Corpus:
    plain = {"upper": 0, "title": 0, "mixed": 0, "punctuation": 0, "heldout": 0.2}
    config = CorpusConfig(sources=sources, **{**plain, **more})
    return Corpus(config, resolve_charset(charset), 8, seed, split, limit)  # type: ignore[arg-type]


def shards(path: str, weight: float = 1.0) -> SourceConfig:
    return SourceConfig(kind="shards", path=path, weight=weight)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("cached", [False, True])
def test_each_word_of_the_split_comes_once_an_epoch(
    folder: str, replacement: bool, cached: bool, tmp_path: Path
) -> None:
    more = {"replacement": replacement, "cache": str(tmp_path / "cache") if cached else ""}
    words = corpus(shards(folder), **more)
    kept = Counter(word for word in [*WORDS, "w3"] if not is_heldout(word, 0.2))
    assert 250 < kept.total() < 350
    for epoch in range(3):
        drawn = [words.word(epoch * kept.total() + place) for place in range(kept.total())]
        assert Counter(drawn) == kept
    assert words.epoch == (0 if replacement else kept.total())
    assert words.dropped == {"empty label": 1, "outside charset": 2, "too long": 1}
    assert f"405 entries, {kept.total()} words in this split, streamed; left out" in words.describe()
    heldout = corpus(shards(folder), split="heldout", **more)
    others = {heldout.word(index) for index in range(500)}
    assert others == set(WORDS) - set(kept)
    every = corpus(shards(folder), split="all", **more)
    assert {every.word(index) for index in range(401)} == set(WORDS)


def test_a_word_is_a_function_of_its_number(folder: str) -> None:
    words = corpus(shards(folder))
    whole = [words.word(index) for index in range(700)]
    for index in (650, 3, 320, 319, 0):
        assert corpus(shards(folder)).word(index) == whole[index]
    assert [pickle.loads(pickle.dumps(words)).word(index) for index in range(100)] == whole[:100]
    other = corpus(shards(folder), seed=4)
    assert [other.word(index) for index in range(100)] != whole[:100]


def test_steps_of_stage_1_go_on_anywhere(folder: str) -> None:
    words = corpus(shards(folder))
    steps = [text_batch(words, 6, step, pool=4) for step in range(60)]
    for step in (59, 13, 14, 40):
        assert text_batch(corpus(shards(folder)), 6, step, pool=4) == steps[step]


def test_sources_are_mixed_by_weight_and_the_streamed_one_has_no_gaps(folder: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("alpha beta gamma")
    listed = SourceConfig(kind="file", path=str(tmp_path / "list.txt"), weight=0.25)
    pattern = SourceConfig(kind="pattern", patterns=("random",), weight=0.25)
    mixed, alone = corpus(listed, shards(folder, 0.5), pattern), corpus(shards(folder))
    words = [mixed.word(index) for index in range(800)]
    of_shards = [word for word in words if word in set(WORDS)]
    assert sum(word in ("alpha", "beta", "gamma") for word in words) == 200
    assert len(of_shards) == 400
    assert of_shards == [alone.word(index) for index in range(400)]
    assert "50% shards:" in mixed.describe()


def test_several_shards_without_replacement_are_one_epoch(tmp_path: Path) -> None:
    one = write_shards(tmp_path / "one", "parquet", WORDS[:100])
    two = write_shards(tmp_path / "two", "tar", WORDS[100:])
    words = corpus(shards(str(one)), shards(str(two)), replacement=False, heldout=0)
    assert words.epoch == 400
    assert Counter(words.word(index) for index in range(400, 800)) == Counter(WORDS)


def test_case_is_varied_unless_the_words_are_labels_of_pictures(tmp_path: Path) -> None:
    bare = write_shards(tmp_path / "bare", "parquet", WORDS)
    shown = write_shards(tmp_path / "shown", "parquet", WORDS, [b"x"] * 400)
    assert corpus(shards(str(bare)), upper=1).word(0).startswith("W")
    assert corpus(shards(str(shown)), upper=1).word(0).startswith("w")


def test_a_word_in_place_of_another_is_near(folder: str) -> None:
    """A renderer without a glyph for it asks for others, which are not to be read from all over the set."""
    words = corpus(shards(folder))
    assert [words.word(7 + attempt * streamed.REDRAW) for attempt in range(5)] == [words.word(7 + n) for n in range(5)]


def test_a_limit_counts_too(folder: str, tmp_path: Path) -> None:
    limit = Limit("odd", lambda words: [not word.endswith("1") for word in words])
    words = corpus(shards(folder), limit=limit, heldout=0, cache=str(tmp_path / "cache"))
    assert words.dropped["odd"] == 40
    assert not (tmp_path / "cache").exists()
    assert Counter(words.word(index) for index in range(361)) == Counter(
        word for word in [*WORDS, "w3"] if not word.endswith("1")
    )


def test_settings_that_contradict_streams_are_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("alpha beta")
    listed = SourceConfig(kind="file", path=str(tmp_path / "list.txt"))
    with pytest.raises(UserError, match="with sources of kind shards and of others"):
        corpus(listed, shards(folder), replacement=False)
    with pytest.raises(UserError, match=r"corpus.phrases = 0.5: phrases would leave gaps in words of shards"):
        corpus(shards(folder), phrases=0.5, charset="62+space")
    with pytest.raises(UserError, match=r"no word in split 'train' \(outside charset 8\)"):
        corpus(shards(str(write_shards(tmp_path / "none", "parquet", ["ß"] * 8))))
    with pytest.raises(UserError, match="kind = 'shards'"):
        corpus(SourceConfig(kind="labels", path=folder))
