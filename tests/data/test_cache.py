"""Decoded crops on disk: the same bytes as without, made once, whole or not there, anew when pictures change."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dptr.config.size import CropSize
from dptr.data import cache
from dptr.data.crops import load_crops
from dptr.data.lmdb import write_lmdb
from dptr.data.loader import batches
from dptr.data.sources import LabeledSource
from dptr.text.charset import resolve_charset
from dptr.utils.errors import UserError

SMALL = CropSize(height=8, width=16)
DIGITS, FULL = resolve_charset("36"), resolve_charset("94")


@pytest.fixture(autouse=True)
def forget():
    cache._open.cache_clear()


def make_folder(folder: Path, count: int = 9) -> Path:
    """Noise as PNG and JPEG; pictures 2 and 5 cannot be read, labels 3 and 5 are no digits or letters."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(count)
    names = [f"{index}.{'jpg' if index % 2 else 'png'}" for index in range(count)]
    for index, name in enumerate(names):
        Image.fromarray(rng.integers(0, 256, (20 + index, 50, 3), np.uint8)).save(folder / name)
    (folder / "2.png").write_bytes(b"torn")
    (folder / "5.jpg").unlink()
    labels = ["?!" if index in (3, 5) else f"w{index}" for index in range(count)]
    rows = [f"{name}\t{label}\n" for name, label in zip(names, labels, strict=True)]
    (folder / "labels.tsv").write_text("".join(rows))
    return folder


def make_lmdb(folder: Path, source: Path) -> Path:
    rows = [line.split("\t") for line in (source / "labels.tsv").read_text().splitlines()]
    pictures = [(source / name).read_bytes() if (source / name).exists() else b"junk" for name, _ in rows]
    write_lmdb(folder, zip(pictures, [label for _, label in rows], strict=True))
    return folder


def made(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*.npy"))


def check_same(cached, plain) -> None:
    assert isinstance(cached.arrays, cache.MappedCrops) and len(cached.arrays) == len(plain)
    assert np.array_equal(cached.arrays[: len(plain)], plain.arrays)
    assert all(np.array_equal(a, b) for a, b in zip(cached.arrays, plain.arrays, strict=True))
    assert np.array_equal(cached.arrays[2:5], plain.arrays[2:5])
    assert (cached.labels, cached.keys, cached.sources) == (plain.labels, plain.keys, plain.sources)
    assert cached.drops == plain.drops


def test_crops_are_those_without_a_cache(tmp_path):
    folder = make_folder(tmp_path / "a")
    paths = [folder, make_lmdb(tmp_path / "b", folder), folder]
    for charset in (DIGITS, FULL):  # the same files serve any charset
        plain = load_crops(paths, charset, 25, SMALL)
        for _ in range(2):
            check_same(load_crops(paths, charset, 25, SMALL, tmp_path / "cache"), plain)
    assert plain.drops.total == 6 and len(made(tmp_path / "cache")) == 2
    large = CropSize(width=64)
    check_same(load_crops(paths, DIGITS, 25, large, tmp_path / "cache"), load_crops(paths, DIGITS, 25, large))
    assert len(made(tmp_path / "cache")) == 4


def test_nothing_is_decoded_twice(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "a")
    plain = load_crops([folder], FULL, 25, SMALL)
    load_crops([folder], FULL, 25, SMALL, tmp_path / "cache")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setattr(cache, "to_array", lambda *_: pytest.fail("decoded"))
    check_same(load_crops([folder], FULL, 25, SMALL, tmp_path / "cache"), plain)
    load_crops([tmp_path / "link"], FULL, 25, SMALL, tmp_path / "cache")  # the same place


def test_changed_pictures_are_decoded_anew(tmp_path):
    folder = make_folder(tmp_path / "a")

    def load():
        crops = load_crops([folder], FULL, 25, SMALL, tmp_path / "cache")
        check_same(crops, load_crops([folder], FULL, 25, SMALL))
        return len(made(tmp_path / "cache"))

    assert load() == 1
    labels = (folder / "labels.tsv").read_text()
    (folder / "labels.tsv").write_text(labels.replace("w4", "other"))
    assert load() == 1  # labels are not cached
    before = os.stat(folder / "0.png")
    data = bytearray((folder / "0.png").read_bytes())
    Image.fromarray(np.zeros((20, 50, 3), np.uint8)).save(folder / "0.png")
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes().ljust(len(data), b"\0"))
    os.utime(folder / "0.png", ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time of writing
    assert load() == 2
    Image.new("RGB", (9, 9), "red").save(folder / "5.jpg")  # was missing
    assert load() == 3
    (folder / "labels.tsv").write_text("".join(reversed(labels.splitlines(keepends=True))))
    assert load() == 4
    (folder / "labels.tsv").write_text(labels.split("\n", 1)[1])
    assert load() == 5


def test_a_changed_lmdb_is_decoded_anew(tmp_path):
    folder = make_folder(tmp_path / "a")
    for name in ("one", "two"):
        make_lmdb(tmp_path / name, folder)
        Image.new("RGB", (9, 9), "red").save(folder / "0.png")
    load_crops([tmp_path / "one"], FULL, 25, SMALL, tmp_path / "cache")
    (tmp_path / "two" / "data.mdb").replace(tmp_path / "one" / "data.mdb")
    crops = load_crops([tmp_path / "one"], FULL, 25, SMALL, tmp_path / "cache")
    assert (crops.arrays[0] == (255, 0, 0)).all() and len(made(tmp_path / "cache")) == 2


def test_maps_choose_copy_and_travel(tmp_path):
    folder = make_folder(tmp_path / "a")
    plain = load_crops([folder], FULL, 25, SMALL)
    mapped = load_crops([folder], FULL, 25, SMALL, tmp_path / "cache").arrays
    chosen = mapped.choose(np.array([4, 1, 1]))
    assert np.array_equal(chosen[0:3], plain.arrays[[4, 1, 1]]) and len(chosen) == 3
    assert len(pickle.dumps(mapped)) < 2000  # a path and numbers, to workers that are not forked
    assert np.array_equal(pickle.loads(pickle.dumps(chosen))[:], chosen[:])
    first = mapped[0]
    assert type(first) is np.ndarray
    first[:] = 0
    assert np.array_equal(mapped[0], plain.arrays[0])
    with pytest.raises(IndexError):
        mapped[len(mapped)]


@pytest.mark.parametrize("after", [0, 4])
def test_an_interrupted_cache_is_not_used(tmp_path, monkeypatch, after):
    folder = make_folder(tmp_path / "a")
    whole = cache.to_array
    calls: list[int] = []

    def ctrl_c(*arguments):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return whole(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cache, "to_array", ctrl_c)
        load_crops([folder], FULL, 25, SMALL, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]
    check_same(load_crops([folder], FULL, 25, SMALL, tmp_path / "cache"), load_crops([folder], FULL, 25, SMALL))


def test_a_killed_process_leaves_nothing_that_is_used(tmp_path, monkeypatch):
    """In the middle of the crops, and between the two files."""
    folder, out = make_folder(tmp_path / "a"), tmp_path / "cache"

    def killed(name: str) -> None:
        child = os.fork()
        if not child:
            monkeypatch.setattr(cache, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            load_crops([folder], FULL, 25, SMALL, out)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    killed("to_array")
    assert any(path.name.startswith(".partial-") for path in out.iterdir()) and not made(out)
    killed("write_json")
    assert len(made(out)) == 1
    crops = out / made(out)[0]
    crops.write_bytes(crops.read_bytes()[:-8] + b"not this")
    check_same(load_crops([folder], FULL, 25, SMALL, out), load_crops([folder], FULL, 25, SMALL))
    assert sorted(path.suffix for path in out.iterdir()) == ["", ".json", ".npy"]  # "" is the lock


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    folder = make_folder(tmp_path / "a", 30)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # 30 crops of 8 x 16 take 11,520 bytes
    try:
        with pytest.raises(UserError, match=r"cannot write .*\.npy: .*; free space or pass another path") as caught:
            load_crops([folder], FULL, 25, SMALL, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_damage_and_folders_that_will_not_do_are_named(tmp_path, monkeypatch):
    folder, out = make_folder(tmp_path / "a"), tmp_path / "cache"
    load_crops([folder], FULL, 25, SMALL, out)
    file = out / made(out)[0]
    whole = file.read_bytes()
    for damage in (whole[:-1], whole[:20], b"", None):
        cache._open.cache_clear()
        file.unlink() if damage is None else file.write_bytes(damage)
        with pytest.raises(UserError, match=r"a-8x16-\w+\.npy: not whole .*; delete it and a-8x16-\w+\.json"):
            load_crops([folder], FULL, 25, SMALL, out)
    np.save(file, np.zeros((3, 8, 16, 3), np.uint8))
    with pytest.raises(UserError, match=r"3 crops of 9; delete it and"):
        load_crops([folder], FULL, 25, SMALL, out)
    with pytest.raises(UserError, match=r"^cache .*labels\.tsv: .*; pass a folder that can be written as data\.cache"):
        load_crops([folder], FULL, 25, SMALL, folder / "labels.tsv")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(UserError, match=r"No locks available; pass a folder"):
        load_crops([folder], FULL, 25, SMALL, tmp_path / "other")


def test_a_system_without_locks_refuses(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(UserError, match=r"^data\.cache = .*no locks.*leave data\.cache empty$"):
        load_crops([make_folder(tmp_path / "a")], FULL, 25, SMALL, tmp_path / "cache")


def test_two_processes_decode_once_and_share_every_epoch(tmp_path):
    """They begin at once; each writes down what it decoded and which crops its half of all batches held."""
    folder, out = make_folder(tmp_path / "a"), tmp_path / "cache"
    plain = load_crops([folder], FULL, 25, SMALL)
    count = len(plain)
    steps = 3 * count  # of 4 samples: 12 epochs
    context = multiprocessing.get_context("fork")
    begin = context.Barrier(2)

    def work(rank: int) -> None:
        decoded, whole = [], cache.to_array

        def slowly(*arguments):
            decoded.append(1)
            time.sleep(0.02)
            return whole(*arguments)

        cache.to_array = slowly
        begin.wait(60)
        crops = load_crops([folder], FULL, 25, SMALL, out)
        seen = [
            (label, crop.tobytes().hex())
            for arrays, labels, _ in batches(LabeledSource(crops, 3, 0.0), 4, 0, steps, 0, rank, 2)
            for crop, label in zip(arrays, labels, strict=True)
        ]
        (tmp_path / f"{rank}.json").write_text(json.dumps([len(decoded), seen]))

    processes = [context.Process(target=work, args=(rank,)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    messages = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert sorted(decoded for decoded, _ in messages) == [0, count]
    every = [tuple(sample) for _, seen in messages for sample in seen]
    expected = {(label, crop.tobytes().hex()) for label, crop in zip(plain.labels, plain.arrays, strict=True)}
    assert set(every) == expected and all(every.count(sample) == 12 for sample in expected)


def test_what_a_user_keeps_in_the_folder_stays(tmp_path, monkeypatch):
    """Also a file that is called as a cache's is."""
    folder, out = make_folder(tmp_path / "a"), tmp_path / "cache"
    out.mkdir()
    mine = (".lock", ".partial-download", "labels.tsv", "a.npy")
    for name in mine:
        (out / name).write_text("mine")
    load_crops([folder], FULL, 25, SMALL, out)
    assert [(out / name).read_text() for name in mine] == ["mine"] * len(mine)
    (crops,) = [out / name for name in made(out) if name not in mine]
    cache._open.cache_clear()
    crops.write_text("mine")
    crops.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=rf"{crops.name}: not whole"):
        load_crops([folder], FULL, 25, SMALL, out)
    assert crops.read_text() == "mine" and not crops.with_suffix(".json").exists()
