"""Lists of words that corpora share: read once, again where they changed, and not kept for ever."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.data.lmdb import write_lmdb
from dptr.text import word_lists
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.rules import Limit, is_heldout
from dptr.text.sources import Entries, read_source
from dptr.text.word_lists import WordList, cumulate

FULL = resolve_charset("94")
WORDS = [f"word{number}" for number in range(400)]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are read from now on, where nothing was kept before."""
    paths: list[str] = []

    def count(source: SourceConfig) -> Entries:
        paths.append(Path(source.path).name)
        return read_source(source)

    monkeypatch.setattr(word_lists, "read_source", count)
    monkeypatch.setattr(word_lists, "_CACHE", type(word_lists._CACHE)())
    return paths


def write(path: Path, words: list[str] = WORDS) -> CorpusConfig:
    path.write_text("\n".join(words), encoding="utf-8")
    return CorpusConfig(sources=(SourceConfig(kind="file", path=str(path)),), heldout=0.2)


def list_of(config: CorpusConfig, split: Any = "train", **settings: Any) -> WordList:
    (source,) = Corpus(config, **{"charset": FULL, "max_length": 25, "seed": 1, **settings}, split=split).sources
    assert isinstance(source, WordList)
    return source


def test_corpora_of_one_list_read_it_once(reads: list[str], tmp_path: Path) -> None:
    config = write(tmp_path / "a.txt")
    train, held, every = (list_of(config, split) for split in ("train", "heldout", "all"))
    assert list_of(config, seed=2) is train
    assert held.words == [word for word in WORDS if is_heldout(word, 0.2)] and 40 < len(held.words) < 120
    assert sorted(train.words + held.words) == sorted(every.words) == sorted(WORDS)
    other_share = list_of(config.model_copy(update={"heldout": 0.5}), "heldout")
    assert other_share.words == [word for word in WORDS if is_heldout(word, 0.5)]
    weighed = config.model_copy(update={"sources": (config.sources[0].model_copy(update={"weight": 3.0}),)})
    assert list_of(weighed) is train and reads == ["a.txt"]


def test_what_decides_over_words_is_not_shared(reads: list[str], tmp_path: Path) -> None:
    config = write(tmp_path / "a.txt", ["short", "LONGER", "longest"])
    assert list_of(config, "all").words == ["short", "LONGER", "longest"]
    assert list_of(config, "all", max_length=6).words == ["short", "LONGER"]
    assert list_of(config, "all", charset=resolve_charset("36")).words == ["short", "longer", "longest"]
    plain = config.model_copy(update={"upper": 0.0, "title": 0.0, "mixed": 0.0})
    capitals = resolve_charset(str(write_charset(tmp_path, "SHORTLONGE")))
    assert len(reads) == 3 and list_of(plain, "all").words == list_of(config, "all").words and len(reads) == 4
    assert list_of(config, "all", charset=capitals).words == ["SHORT", "LONGER", "LONGEST"]


def write_charset(folder: Path, characters: str) -> Path:
    path = folder / "capitals.txt"
    path.write_text("\n".join(dict.fromkeys(characters)), encoding="utf-8")
    return path


def test_a_limit_is_applied_once_and_not_kept_longer_than_it_lives(reads: list[str], tmp_path: Path) -> None:
    config, judged = write(tmp_path / "a.txt"), []

    def fits(words: Any) -> list[bool]:
        judged.extend(words)
        return [word.endswith("7") for word in words]

    limit = Limit("no seven", fits)
    train = list_of(config, limit=limit)
    assert len(judged) == len(WORDS) and train.dropped == {"no seven": 360}
    held = list_of(config, "heldout", limit=limit)
    assert sorted(train.words + held.words) == sorted(word for word in WORDS if word.endswith("7"))
    assert len(judged) == len(WORDS) and reads == ["a.txt"] and len(list_of(config, "all").words) == 400
    gone = weakref.ref(limit)
    del limit
    gc.collect()
    assert gone() is None


def test_a_file_that_changed_is_read_again(reads: list[str], tmp_path: Path) -> None:
    config = write(tmp_path / "a.txt", ["one", "two"])
    assert list_of(config, "all").words == ["one", "two"]
    write(tmp_path / "a.txt", ["one", "six"])
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    assert list_of(config, "all").words == ["one", "six"] and reads == ["a.txt"] * 2
    (tmp_path / "a.txt").unlink()
    with pytest.raises(Exception, match="check the path"):
        list_of(config, "all")


def test_labels_that_changed_are_read_again(reads: list[str], tmp_path: Path) -> None:
    config = CorpusConfig(sources=(SourceConfig(kind="labels", path=str(tmp_path / "crops")),))
    write_lmdb(tmp_path / "crops", [(b"no picture is read", "one"), (b"no picture is read", "two")])
    assert list_of(config, "all").words == ["one", "two"] and list_of(config, "all").words == ["one", "two"]
    os.utime(tmp_path / "crops" / "data.mdb", ns=(1, 1))
    assert list_of(config, "all").words == ["one", "two"] and len(reads) == 2


def test_no_more_words_are_kept_than_it_says(reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_lists, "MOST_KEPT", 900)
    configs = [write(tmp_path / f"{name}.txt") for name in "abc"]
    for config in (*configs[:2], configs[0]):
        list_of(config)
    assert reads == ["a.txt", "b.txt"]
    list_of(configs[2])  # b, which was used longest ago, goes
    list_of(configs[0])
    assert reads == ["a.txt", "b.txt", "c.txt"]
    list_of(configs[1])
    assert reads == ["a.txt", "b.txt", "c.txt", "b.txt"]
    large = write(tmp_path / "large.txt", [f"w{number}" for number in range(1000)])
    assert list_of(large) is list_of(large)


def test_running_shares_are_sums_from_the_left() -> None:
    weights = list(np.random.default_rng(0).random(999))
    total, sums = 0.0, []
    for weight in weights:
        total += weight
        sums.append(total)
    assert [*cumulate(weights)] == [each / total for each in sums[:-1]] + [1.0]
    assert [*cumulate([])] == []
