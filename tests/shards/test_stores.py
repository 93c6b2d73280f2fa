"""Shards in S3, on loopback: trained on, evaluated, busy, denied, and cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_batch import Store, connect_store
from helpers_shards import WRITERS, png, write_shards

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.config.size import CropSize
from dptr.data.labeled import open_labeled
from dptr.data.loader import batches
from dptr.data.shards import StreamedCrops, stream_crops
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.utils.errors import UserError

LABELS = [f"w{number}" for number in range(80)]
PICTURES = [png(number) for number in range(80)]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with connect_store(monkeypatch) as store:
        yield store


def fill(store: Store, folder: Path, kind: str = "parquet") -> Path:
    write_shards(folder, kind, LABELS, PICTURES)
    store.objects |= {f"bucket/set/{path.name}": path.read_bytes() for path in folder.iterdir()}
    return folder


def stream(path: str, cache: Path | str = "") -> StreamedCrops:
    return stream_crops(path, resolve_charset("36"), 25, CropSize(height=16, width=32), 3, 0.5, 20, str(cache))


@pytest.mark.parametrize("kind", WRITERS)
def test_the_crops_of_a_store_are_those_of_a_folder(kind: str, store: Store, tmp_path: Path) -> None:
    local = stream(str(fill(store, tmp_path / "set", kind)))
    remote = stream(store.url("set"), tmp_path / "cache")
    assert [remote.word(index) for index in range(160)] == [local.word(index) for index in range(160)]
    assert (remote.sample(33)[0] == local.sample(33)[0]).all()
    assert stream(store.url("set"), tmp_path / "cache").word(33) == local.word(33)
    held = open_labeled(store.url("set"))
    assert [held.label(index) for index in range(80)] == LABELS and held.image_bytes(41) == PICTURES[41]
    assert "secret" not in str(held.path)


def test_words_of_a_store(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "set")
    config = CorpusConfig(sources=(SourceConfig(kind="shards", path=store.url("set")),), heldout=0)
    corpus = Corpus(config, resolve_charset("36"), 25, 0)
    assert Counter(corpus.word(index) for index in range(80)) == Counter(LABELS)


def test_worker_processes_read_a_store_too(store: Store, tmp_path: Path) -> None:
    """The connection of the process that starts them is not theirs."""
    fill(store, tmp_path / "set")
    source = stream(store.url("set"))
    alone = [words for _, words, _ in batches(source, 8, 0, 20, 0)]
    assert [words for _, words, _ in batches(source, 8, 0, 20, 2)] == alone


def test_a_busy_store_is_asked_again(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "set")
    store.busy = 2
    assert len(stream(store.url("set"))) == 80 and not store.busy


def test_a_store_that_refuses_or_has_nothing_is_one_line(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "set")
    with pytest.raises(UserError, match="nothing is there; check the address"):
        stream(store.url("absent"))
    store.refuses = True
    with pytest.raises(UserError, match=r"check the .*credentials") as caught:
        stream(store.url("set"))
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.slow  # Arrow itself waits before it asks again
@pytest.mark.parametrize("kind", WRITERS)
def test_an_object_that_is_cut_off_is_one_line(kind: str, store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "set", kind)
    store.cut.add(f"bucket/set/part-002.{kind}")
    with pytest.raises(UserError, match=rf"part-002.{kind}: .*check the address, the network") as caught:
        stream(store.url("set"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", WRITERS)
def test_an_object_that_was_stored_cut_off_is_one_line(kind: str, store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "set", kind)
    name = f"bucket/set/part-002.{kind}"
    store.objects[name] = store.objects[name][:2000]
    with pytest.raises(UserError, match=rf"part-002.{kind}: (no whole Parquet file|damaged after \d+ samples)"):
        stream(store.url("set"))
