"""Rendering and export under kill -9, and long commands on a disk that is really full, fails, or takes pieces."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_kill import KILLS, LONG
from helpers_train import Parts, Warm, check_whole, contents, records

from dptr.inference.onnx_backend import OnnxModel
from dptr.utils.files import replace_file
from dptr.utils.seccomp import Refusal, is_supported

SYNTH = ("folder", "lmdb", "pack")
EXPORTS = {"export": [], "half": ["--half"], "static": ["--int8", "static"]}
"""What follows the command; ``static`` replaces an earlier export."""
CROPS = 75
SMALL, LARGE = "30k", "64m"  # sizes of the disk


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


def command(name: str, parts: Parts, out: Path) -> list[str]:
    """A long command that writes ``out``."""
    if name in SYNTH:
        words = f"corpus.sources=[{{kind='file', path='{parts.folder / 'words.txt'}'}}]"
        settings = ["size.height=16", "size.width=32", f"render.fonts=['{parts.fonts}']", words]
        sets = [part for setting in settings for part in ("--set", setting)]
        return ["synth", "--format", name, "--count", str(CROPS), *sets, "--out", str(out), "--resume"]
    if name in EXPORTS:
        given = ["export", "--model", str(parts.folder / "recognizer"), "--crops", "8", "--out", str(out)]
        return [*given, *EXPORTS[name]]
    return [*parts.arguments(name, out), "--resume"]


def output(name: str, folder: Path) -> Path:
    return folder / ("model.onnx" if name in EXPORTS else "out")


def written(out: Path) -> dict[str, bytes]:
    """What a command wrote, by name; LMDB's own file has pages in no fixed order."""
    if out.is_file():
        return {out.name: out.read_bytes()}
    files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.endswith(".mdb")}


@pytest.fixture(scope="module")
def whole(
    request: pytest.FixtureRequest, warm: Warm, parts: Parts, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, float]:
    """A command, what it wrote when nobody disturbed it, and the seconds that it took."""
    out = output(request.param, tmp_path_factory.mktemp(f"whole-{request.param}"))
    begun = time.monotonic()
    code, _, said = warm.run(*command(request.param, parts, out))
    assert code == 0, said
    return request.param, out, time.monotonic() - begun


def check_same(name: str, out: Path, expected: Path) -> None:
    if name == "lmdb":
        from dptr.data.labeled import LabeledLmdb

        sets = [LabeledLmdb(each) for each in (out, expected)]
        for each in sets:
            assert len(each) == CROPS
        for index in range(0, CROPS, 37):
            assert sets[0].label(index) == sets[1].label(index)
            assert sets[0].image_bytes(index) == sets[1].image_bytes(index)
    elif name in EXPORTS:
        assert OnnxModel(out).metadata == OnnxModel(expected).metadata
    assert written(out) == written(expected) or name in EXPORTS
    assert {path.name for path in out.parent.iterdir()} == {out.name}


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize(
    "whole", ["folder", *(pytest.param(each, marks=LONG) for each in ("lmdb", "pack", *EXPORTS))], indirect=True
)
def test_killed_at_random_moments(
    whole: tuple[str, Path, float], kills: int, warm: Warm, parts: Parts, tmp_path: Path
) -> None:
    name, expected, seconds = whole
    moments = random.Random(f"{name} {kills}")
    done = 0
    older = tmp_path.with_name(f"{tmp_path.name}.onnx")
    if name == "static":
        code, _, said = warm.run(*command("half", parts, older))
        assert code == 0, said
    while done < kills:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        out = output(name, tmp_path)
        if older.exists():
            shutil.copy(older, out)
        while done < kills:
            process = warm.start(*command(name, parts, out))
            time.sleep(moments.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
            code, _, said = warm.end()
            assert code in (0, -signal.SIGKILL), said
            assert out.exists() or not older.exists()
            if name in EXPORTS and out.exists():
                OnnxModel(out)  # whole, by its digest
            if code == 0:
                break
            done += 1
        code, _, said = warm.run(*command(name, parts, out))
        assert code == 0, said
        check_same(name, out, expected)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of ``SMALL`` bytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no disk can be mounted here; only root may")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    "whole",
    ["finetune", "folder", *(pytest.param(each, marks=LONG) for each in ("lmdb", "pack", "export"))],
    indirect=True,
)
def test_a_disk_that_is_full_and_then_is_not(
    whole: tuple[str, Path, float], warm: Warm, parts: Parts, small_disk: Path
) -> None:
    name, expected, _ = whole
    out = output(name, small_disk)
    code, printed, said = warm.run(*command(name, parts, out))
    assert (code, printed) == (2, ""), said
    assert re.search(r"No space left on device|MDB_MAP_FULL|full", said.splitlines()[-1]), said
    assert "Traceback" not in said
    subprocess.run(["mount", "-o", f"remount,size={LARGE}", str(small_disk)], check=True)
    code, _, said = warm.run(*command(name, parts, out))
    assert code == 0, said
    if name == "finetune":
        check_whole(out)
        assert records(out) == records(expected) and contents(out) == contents(expected)
    else:
        check_same(name, out, expected)


EIO = errno.EIO
FAILING = {
    "synchronizing": [Refusal("fsync", EIO), Refusal("fdatasync", EIO)],
    "writing": [
        *(Refusal(call, EIO, 2, above=500) for call in ("write", "pwrite64")),
        Refusal("pwritev", EIO),
        Refusal("writev", EIO),
    ],
    "renaming": [Refusal(call, EIO) for call in ("rename", "renameat", "renameat2")],
}


@pytest.mark.parametrize("what", FAILING)
@pytest.mark.parametrize(
    "whole",
    ["folder", *(pytest.param(each, marks=LONG) for each in ("finetune", "lmdb", "pack", "export"))],
    indirect=True,
)
def test_a_disk_that_fails(what: str, whole: tuple[str, Path, float], warm: Warm, parts: Parts, tmp_path: Path) -> None:
    """The kernel makes the system calls fail, whichever library makes them."""
    if not is_supported():
        pytest.skip("no system calls can be refused here; only Linux on x86-64 and arm64 can")
    name, expected, _ = whole
    out = output(name, tmp_path)
    code, printed, said = warm.run(*command(name, parts, out), failing=FAILING[what])
    assert (code, printed) == (2, ""), said
    assert re.search(r"^dptr: error: cannot \w+ .*Input/output error", said.splitlines()[-1]), said
    assert "Traceback" not in said
    if name == "export":
        assert not out.exists()
    elif out.exists():
        check_whole(out)
    code, _, said = warm.run(*command(name, parts, out))
    assert code == 0, said
    if name == "finetune":
        assert records(out) == records(expected) and contents(out) == contents(expected)
    else:
        check_same(name, out, expected)


def test_writes_that_take_a_few_bytes_at_a_time_lose_none(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dptr.cli.app import run
    from dptr.data.labeled import open_labeled

    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:3])))
    arguments = command("folder", parts, tmp_path / "set")
    arguments[arguments.index(str(CROPS))] = "6"
    assert run(arguments) == 0
    assert len(open_labeled(tmp_path / "set")) == 6
    monkeypatch.undo()
    read, pipe = os.pipe()
    content = bytes(range(256)) * 1000  # more than a pipe holds: the kernel takes it in pieces
    child = os.fork()
    if not child:
        os.close(read)
        with replace_file(f"/dev/fd/{pipe}") as aside:
            aside.write_bytes(content)
        os._exit(0)
    os.close(pipe)
    with open(read, "rb") as file:
        assert file.read() == content
    assert os.waitpid(child, 0)[1] == 0
