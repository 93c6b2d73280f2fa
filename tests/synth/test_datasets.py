"""Rendered data sets: what the renderer gives, in shards, by any number of workers, however often interrupted."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
import pytest

from dptr.cli.app import run
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.size import CropSize
from dptr.config.train import SynthRecipe
from dptr.data.crops import load_crops
from dptr.data.labeled import open_labeled
from dptr.synth import datasets as synth_sets
from dptr.synth import pack
from dptr.synth.datasets import parse_shard, shard_range, write_folder, write_synth_lmdb
from dptr.synth.pack import open_pack, write_pack
from dptr.synth.worker import make_source
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.utils.errors import UserError

SIZE = CropSize(height=16, width=32)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(synth_sets, "CHUNK", 4)
    monkeypatch.setattr(pack, "SHARD", 5)
    pack._open_shard.cache_clear()


@pytest.fixture
def recipe(font_folder) -> SynthRecipe:
    random = CorpusConfig(sources=(SourceConfig(kind="pattern", patterns=("random",)),), heldout=0)
    render = RenderConfig(fonts=(str(font_folder),))
    return SynthRecipe(charset="36", max_length=6, corpus=random, render=render, size=SIZE)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WRITE = {"folder": write_folder, "lmdb": write_synth_lmdb}


@pytest.mark.parametrize("kind", WRITE)
@pytest.mark.parametrize(("first", "last"), [(0, 10), (3, 13)])
def test_it_holds_what_the_renderer_gives(kind, first, last, recipe, tmp_path):
    done = []
    WRITE[kind](recipe, first, last, tmp_path / "set", progress=done.append)
    assert done[-1] == 10 and done == sorted(done)
    source, dataset = make_source(recipe), open_labeled(tmp_path / "set")
    assert len(dataset) == 10
    for place, index in enumerate(range(first, last)):
        crop, word, _ = source.sample(index)
        assert dataset.label(place) == word
        assert np.array_equal(np.asarray(dataset.image(place)), crop)


@pytest.mark.parametrize("kind", WRITE)
def test_workers_change_nothing(kind, recipe, tmp_path):
    for workers in (1, 2):
        WRITE[kind](recipe, 0, 11, tmp_path / str(workers), workers)
    one, two = (open_labeled(tmp_path / str(workers)) for workers in (1, 2))
    assert [one.label(i) for i in range(11)] == [two.label(i) for i in range(11)]
    assert all(np.array_equal(np.asarray(one.image(i)), np.asarray(two.image(i))) for i in range(11))
    if kind == "folder":
        assert contents(tmp_path / "1") == contents(tmp_path / "2")


@pytest.mark.parametrize("left", [0, 1, 30, 31, 45, 10_000])
def test_an_interrupted_folder_goes_on(left, recipe, tmp_path, monkeypatch):
    write_folder(recipe, 0, 11, tmp_path / "whole")
    calls = iter(range(100))
    real = synth_sets._write_picture

    def write(path, data):
        if next(calls) == 6:
            real(path, data[:5])
            raise KeyboardInterrupt
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(synth_sets, "_write_picture", write)
        with pytest.raises(KeyboardInterrupt):
            write_folder(recipe, 0, 11, tmp_path / "set")
    labels = tmp_path / "set" / "labels.tsv"
    assert labels.read_bytes().count(b"\n") == 4
    labels.write_bytes(labels.read_bytes()[:left])  # killed in the middle of a line
    with pytest.raises(UserError, match="already holds rendered crops; pass --resume"):
        write_folder(recipe, 0, 11, tmp_path / "set")
    write_folder(recipe, 0, 11, tmp_path / "set", resume=True)
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")
    write_folder(recipe, 0, 11, tmp_path / "set", resume=True)
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_other_crops_are_not_mixed_in(recipe, tmp_path):
    write_folder(recipe, 0, 3, tmp_path / "set")
    for changed, last in ((recipe, 4), (recipe.model_copy(update={"seed": 1}), 3)):
        with pytest.raises(UserError, match="holds crops of another recipe or range"):
            write_folder(changed, 0, last, tmp_path / "set", resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(UserError, match="not empty"):
        write_folder(recipe, 0, 3, tmp_path / "full", resume=True)


@pytest.mark.parametrize("last", [6, 9])
def test_crops_of_other_texts_are_not_mixed_in(last, recipe, tmp_path, monkeypatch):
    """The picture of a line that is cut off was compared, and no other."""
    with monkeypatch.context() as earlier:
        earlier.setattr(Corpus, "word", lambda self, index: f"w{index}")
        write_folder(recipe, 3, 9, tmp_path / "set")
    labels = tmp_path / "set" / "labels.tsv"
    labels.write_bytes(b"".join(labels.read_bytes().splitlines(keepends=True)[: last - 3]))
    before = contents(tmp_path / "set")
    monkeypatch.setattr(Corpus, "word", lambda self, index: f"v{index}" if index == 5 else f"w{index}")
    with pytest.raises(UserError, match=r"labels\.tsv: crop 5 shows 'w5', and 'v5' would be drawn now"):
        write_folder(recipe, 3, 9, tmp_path / "set", resume=True)
    assert contents(tmp_path / "set") == before


def test_a_full_disk_is_told_and_resumed(recipe, tmp_path, monkeypatch):
    def write(descriptor, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(synth_sets.os, "write", write)
        with pytest.raises(UserError, match=r"labels\.tsv: No space left on device; free space, then .* --resume"):
            write_folder(recipe, 0, 6, tmp_path / "set")
    write_folder(recipe, 0, 6, tmp_path / "set", resume=True)
    assert len(open_labeled(tmp_path / "set")) == 6


@pytest.mark.parametrize("count", [7, 8, 9, 100])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_hold_every_sample_once(count, parts):
    spans = [shard_range(parse_shard(f"{number}/{parts}"), count) for number in range(parts)]
    assert [index for span in spans for index in range(*span)] == list(range(count))
    assert max(last - first for first, last in spans) - min(last - first for first, last in spans) <= 1


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "1/0", "a/b", "1/2/3"])
def test_what_is_no_shard(text):
    with pytest.raises(UserError, match=r"write i/n"):
        parse_shard(text)


def test_jobs_make_one_pack_together(recipe, tmp_path):
    write_pack(recipe, 23, tmp_path / "whole")
    for number in (2, 0, 1):
        write_pack(recipe, 23, tmp_path / "pack", part=(number, 3))
    assert contents(tmp_path / "pack") == contents(tmp_path / "whole")
    write_pack(recipe, 23, tmp_path / "two", part=(0, 2))
    with pytest.raises(UserError, match="not a whole shard"):
        open_pack(tmp_path / "two", resolve_charset("36"), 6, SIZE, 0)


def test_command(font_folder, tmp_path, capsys):
    common = ["synth", "--count", "7", "--set", f"render.fonts=['{font_folder}']", "--set", "size.height=16"]
    for kind in ("folder", "lmdb", "pack"):
        assert run([*common, "--format", kind, "--shard", "1/2", "--out", str(tmp_path / kind)]) == 0
    assert [len(open_labeled(tmp_path / kind)) for kind in ("folder", "lmdb")] == [4, 4]
    assert run([*common, "--format", "zip", "--out", str(tmp_path / "zip")]) == 2
    assert run([*common, "--shard", "7/7", "--out", str(tmp_path / "none")]) == 2
    assert run([*common, "--shard", "1/8", "--format", "lmdb", "--out", str(tmp_path / "none")]) == 2
    assert "more shards than crops (7)" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["folder", "lmdb", "pack"])
def test_what_is_left_out_of_a_word_list_is_said(kind, font_folder, tmp_path, capsys):
    (tmp_path / "codes.txt").write_text("LOT 690\nØ12 4\nEXP 691\n", encoding="utf-8")
    words = f'corpus.sources=[{{kind="file", path="{tmp_path / "codes.txt"}"}}]'
    common = ["synth", "--count", "3", "--format", kind, "--set", f"render.fonts=['{font_folder}']", "--set", words]
    assert run([*common, "--out", str(tmp_path / kind)]) == 0
    assert "left out: number taken as a count 3, outside charset 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sheet.png", "sheet.html", "sheet.txt"])
def test_sheet_shows_the_first_crops(name, font_folder, tmp_path, capsys):
    arguments = ["synth", "--count", "5", "--format", "folder", "--set", f"render.fonts=['{font_folder}']"]
    code = run([*arguments, "--sheet", str(tmp_path / name), "--out", str(tmp_path / "set")])
    if name == "sheet.txt":
        assert code == 2 and "neither .png nor .html" in capsys.readouterr().err
        return
    assert code == 0
    if name == "sheet.html":
        page = (tmp_path / name).read_text()
        labels = open_labeled(tmp_path / "set")
        assert page.count("data:image/jpeg") == 5 and all(escape(labels.label(i)) in page for i in range(5))
    else:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", WRITE)
def test_pictures_without_text_have_empty_labels(kind, recipe, tmp_path):
    render = recipe.render.model_copy(update={"effects": {"empty": 0.5}})
    WRITE[kind](recipe.model_copy(update={"render": render}), 0, 12, tmp_path / "set")
    labels = [open_labeled(tmp_path / "set").label(place) for place in range(12)]
    assert 2 <= labels.count("") <= 10
    crops = load_crops([tmp_path / "set"], resolve_charset("36"), 6, SIZE)
    assert len(crops) == 12 - labels.count("") and crops.drops.counts == {"empty label": labels.count("")}


@pytest.mark.parametrize("write", [write_folder, write_synth_lmdb])
def test_pictures_are_not_stretched_before_they_are_read(write, recipe: SynthRecipe, tmp_path: Path) -> None:
    stretched = recipe.model_copy(update={"size": CropSize(height=16, width=32, max_width=96, stretch=1.5)})
    with pytest.raises(UserError, match=r"size\.stretch = 1\.5: .* leave it out, or write a pack"):
        write(stretched, 0, 4, tmp_path / "out")
    assert not (tmp_path / "out").exists()
