import io
import multiprocessing
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from dptr.data import lmdb as lmdb_io
from dptr.data.lmdb import UNFINISHED, write_lmdb
from dptr.utils.errors import UserError
from dptr.utils.lmdb import LmdbReader, is_lmdb


def samples(count: int, seed: int = 0) -> Iterator[tuple[bytes, str]]:
    for index in range(count):
        rng = random.Random(f"{seed}/{index}")
        yield rng.randbytes(rng.randrange(1, 6000)), f"wörd{index}" * rng.randrange(3)


def content(path: Path) -> dict[bytes, bytes]:
    """Every key and value, read without the code under test."""
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


def expected(count: int) -> dict[bytes, bytes]:
    result = {b"num-samples": str(count).encode()}
    for number, (image, label) in enumerate(samples(count), start=1):
        result[f"image-{number:09d}".encode()] = image
        result[f"label-{number:09d}".encode()] = label.encode()
    return result


def refused(function, *parts: str) -> None:
    with pytest.raises(UserError) as error:
        function()
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(lmdb_io, "BATCH_SAMPLES", 10)


# The format


def test_what_is_written_is_the_format_of_the_field(tmp_path, small_batches):
    assert write_lmdb(tmp_path / "set", samples(37)) == 37
    assert content(tmp_path / "set") == expected(37)
    assert os.listdir(tmp_path) == ["set"]
    assert os.listdir(tmp_path / "set") == ["data.mdb"]


def test_reads_what_the_reference_script_writes(tmp_path):
    """``create_lmdb_dataset.py`` puts strings in this way, in one map of a terabyte, with a lock file."""
    environment = lmdb.open(str(tmp_path / "set"), map_size=1 << 40)
    with environment.begin(write=True) as transaction:
        for number, (image, label) in enumerate([(b"\x89PNG", "Café"), (b"\xff\xd8", "12 €")], start=1):
            transaction.put(f"image-{number:09d}".encode(), image)
            transaction.put(f"label-{number:09d}".encode(), label.encode())
        transaction.put(b"num-samples", b"2")
    environment.close()
    reader = LmdbReader(tmp_path / "set")
    assert len(reader) == 2
    assert [reader.label(index) for index in range(2)] == ["Café", "12 €"]
    assert [reader.image_bytes(index) for index in range(2)] == [b"\x89PNG", b"\xff\xd8"]
    assert reader.key(1) == "image-000000002"


def test_map_grows_and_readers_need_not_know_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_io, "FIRST_MAP", 1 << 16)
    monkeypatch.setattr(lmdb_io, "BATCH_SAMPLES", 3)
    big = [(bytes([index]) * 1_500_000, str(index)) for index in range(10)]  # beyond lmdb's default map of 10 MiB
    write_lmdb(tmp_path / "set", iter(big))
    reader = LmdbReader(tmp_path / "set")
    assert [(reader.image_bytes(index), reader.label(index)) for index in range(10)] == big


def test_batches_are_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_io, "BATCH_BYTES", 1000)
    sizes = [len(batch) for batch in lmdb_io._batches(iter([(b"x" * 600, "")] * 5), 0)]
    assert sizes == [2, 2, 1]


def test_several_readers_forks_and_pickles(tmp_path):
    write_lmdb(tmp_path / "set", samples(20))
    first, second = LmdbReader(tmp_path / "set"), LmdbReader(tmp_path / "." / "set")
    copy = pickle.loads(pickle.dumps(first))
    assert first.label(7) == second.label(7) == copy.label(7) == list(samples(20))[7][1]
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(first.image_bytes, range(20)) == [image for image, _ in samples(20)]
    first.close()
    assert second.label(0) == copy.label(0)
    second.close()
    copy.close()
    lmdb.open(str(tmp_path / "set"), readonly=True, lock=False).close()  # nothing holds it open any more


# Damaged and foreign files


def test_not_an_lmdb(tmp_path):
    refused(lambda: LmdbReader(tmp_path / "none"), "none", "check the path")
    refused(lambda: LmdbReader(tmp_path), str(tmp_path), "data.mdb")
    for name, data in (("empty", b""), ("text", b"hello\n"), ("noise", os.urandom(50_000))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.mdb").write_bytes(data)
        assert is_lmdb(tmp_path / name)
        refused(lambda name=name: LmdbReader(tmp_path / name), name, "data.mdb", "again")


READ_ALL = """
import sys
from dptr.utils.lmdb import LmdbReader
from dptr.utils.errors import UserError
for path in sys.argv[1:]:
    try:
        reader = LmdbReader(path)
        print("read", sum(len(reader.image_bytes(index)) for index in range(len(reader))))
    except UserError as error:
        print("refused", error)
"""


def test_truncated_lmdb_is_refused_before_it_can_kill_the_process(tmp_path):
    """Reading beyond the end of a mapped file ends in SIGBUS, hence a process of its own."""
    write_lmdb(tmp_path / "whole", samples(50))
    data = (tmp_path / "whole" / "data.mdb").read_bytes()
    paths = [str(tmp_path / "whole")]
    for keep in (1000, 4096, 8192, 20_000, len(data) // 2, len(data) - 4096, len(data) - 1):
        folder = tmp_path / f"first-{keep}"
        folder.mkdir()
        (folder / "data.mdb").write_bytes(data[:keep])
        paths.append(str(folder))
    result = subprocess.run([sys.executable, "-c", READ_ALL, *paths], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"read {sum(len(image) for image, _ in samples(50))}"
    assert len(lines) == len(paths)
    for path, line in zip(paths[1:], lines[1:], strict=True):
        assert line.startswith(f"refused {path}"), line
        assert "again" in line
    assert sum("truncated" in line for line in lines) >= 5


def change(path: Path, key: bytes, value: bytes | None) -> None:
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        if value is None:
            assert transaction.delete(key)
        else:
            transaction.put(key, value)


def test_missing_and_damaged_keys_are_named(tmp_path):
    path = tmp_path / "set"
    write_lmdb(path, samples(5))
    change(path, b"image-000000002", None)
    change(path, b"label-000000003", None)
    change(path, b"label-000000004", b"caf\xe9")
    reader = LmdbReader(path)
    refused(lambda: reader.image_bytes(1), "set", "image-000000002", "missing")
    refused(lambda: reader.label(2), "set", "label-000000003", "missing")
    refused(lambda: reader.label(3), "set", "label-000000004", "UTF-8")
    assert reader.image_bytes(0)
    reader.close()
    change(path, b"num-samples", b"many")
    refused(lambda: LmdbReader(path), "num-samples", "many")
    change(path, b"num-samples", None)
    refused(lambda: LmdbReader(path), "num-samples", "missing")


def test_lmdb_missing_as_a_package_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    refused(lambda: write_lmdb(tmp_path / "set", samples(1)), "an LMDB needs lmdb", "pip install ./weights '.[train]'")


# Interruption


def interrupted(count: int, at: int, error: BaseException) -> Iterator[tuple[bytes, str]]:
    for index, sample in enumerate(samples(count)):
        if index == at:
            raise error
        yield sample


@pytest.mark.parametrize("at", [0, 5, 10, 25, 39])
def test_an_interrupted_write_resumes(tmp_path, small_batches, at):
    path = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        write_lmdb(path, interrupted(40, at, KeyboardInterrupt()))
    assert not path.exists()
    drawn = []
    assert write_lmdb(path, (drawn.append(0) or sample for sample in samples(40)), resume=True) == 40
    assert len(drawn) == 40
    assert content(path) == expected(40)
    assert os.listdir(tmp_path) == ["set"]


def test_without_resume_an_unfinished_one_is_thrown_away(tmp_path, small_batches):
    with pytest.raises(KeyboardInterrupt):
        write_lmdb(tmp_path / "set", interrupted(40, 30, KeyboardInterrupt()))
    assert write_lmdb(tmp_path / "set", samples(7)) == 7
    assert content(tmp_path / "set") == expected(7)


def test_resuming_with_other_samples_is_refused(tmp_path, small_batches):
    path = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        write_lmdb(path, interrupted(40, 30, KeyboardInterrupt()))
    refused(lambda: write_lmdb(path, samples(40, seed=1), resume=True), UNFINISHED, "sample 1", "same samples")
    refused(lambda: write_lmdb(path, samples(12), resume=True), "30 samples", "only 12")
    assert write_lmdb(path, samples(40), resume=True) == 40


def test_a_finished_one_is_never_overwritten(tmp_path):
    path = tmp_path / "set"
    write_lmdb(path, samples(12))
    refused(lambda: write_lmdb(path, samples(12, seed=1)), "set", "exists")
    assert write_lmdb(path, samples(12), resume=True) == 12
    refused(lambda: write_lmdb(path, samples(13), resume=True), "12 samples", "more")
    refused(lambda: write_lmdb(path, samples(11), resume=True), "only 11")
    refused(lambda: write_lmdb(path, samples(12, seed=1), resume=True), "sample 1")
    assert content(path) == expected(12)


def test_nothing_to_write_and_empty_pictures(tmp_path):
    refused(lambda: write_lmdb(tmp_path / "set", iter([])), "no samples")
    refused(lambda: write_lmdb(tmp_path / "set", [(b"x", "a"), (b"", "b")]), "sample 2", "empty picture")
    assert not (tmp_path / "set").exists()


def test_full_disk_then_resume(tmp_path, small_batches):
    path = tmp_path / "set"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        refused(lambda: write_lmdb(path, samples(100)), "cannot write", "set", "free space", "resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.exists()
    with LmdbReader(tmp_path / f"{UNFINISHED}set") as reader:
        done = len(reader)
    assert 10 <= done < 100
    assert write_lmdb(path, samples(100), resume=True) == 100
    assert content(path) == expected(100)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    refused(lambda: write_lmdb(tmp_path / "file" / "set", samples(1)), "cannot write", "file")


WRITER = """
import random, sys, time
from dptr.data import lmdb as lmdb_io

def samples(count):
    for index in range(count):
        rng = random.Random(f"0/{index}")
        time.sleep(0.0002)
        yield rng.randbytes(rng.randrange(1, 6000)), f"wörd{index}" * rng.randrange(3)

lmdb_io.BATCH_SAMPLES = 20
lmdb_io.FIRST_MAP = 1 << 18
print("start", flush=True)
lmdb_io.write_lmdb(sys.argv[1], samples(int(sys.argv[2])), resume=True)
"""


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_at_random_moments_then_resume(tmp_path, kills):
    """``kill -9`` again and again; what is there each time is a beginning of the whole, and the end is the whole."""
    path, count = tmp_path / "set", 1500
    moments = random.Random(kills)
    truth = expected(count)
    committed = []
    while True:
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(count)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if len(committed) < kills:
                time.sleep(moments.uniform(0, 0.4))
                process.kill()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        assert not path.exists() or content(path) == truth
        aside = tmp_path / f"{UNFINISHED}set"
        unfinished = {} if not aside.exists() or not (aside / "data.mdb").stat().st_size else content(aside)
        done = int(unfinished.pop(b"num-samples", b"0"))
        assert len(unfinished) == 2 * done
        assert unfinished.items() <= truth.items()
        committed.append(done)
    assert committed == sorted(committed)
    assert sum(0 < done < count for done in committed) >= 2
    assert content(path) == truth
    assert os.listdir(tmp_path) == ["set"]


def test_pictures_come_back_bit_by_bit(tmp_path):
    buffer = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 256, (32, 128, 3), np.uint8)
    Image.fromarray(picture).save(buffer, "PNG")
    write_lmdb(tmp_path / "set", [(buffer.getvalue(), "label")])
    data = LmdbReader(tmp_path / "set").image_bytes(0)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), picture)
