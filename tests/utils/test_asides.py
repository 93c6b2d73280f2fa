"""What a killed writer left goes with the next write of the same file; what others write, and own, stays."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dptr.utils import asides
from dptr.utils.files import atomic_file, atomic_folder, replace_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="without locks of this kind")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def in_child(write: Callable[[], object]) -> int:
    """Run in a forked process; how it ended."""
    child = os.fork()
    if not child:
        try:
            write()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def write_file(path: Path, text: str, killed: bool = False) -> None:
    with replace_file(path) as aside:
        aside.write_text(text)
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)


def write_folder(path: Path, text: str, killed: bool = False) -> None:
    with atomic_folder(path) as aside:
        (aside / "content").write_text(text)
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_what_a_killed_writer_left_goes_with_the_next_write(write: Callable[..., None], tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "first")
    for _ in range(3):
        assert in_child(lambda: write(out, "second", killed=True)) == -signal.SIGKILL
        assert [name for name in names(tmp_path) if name != "out"] == [f".partial-{asides.USUAL}-out"]
    write(out, "third")
    assert names(tmp_path) == ["out"]
    assert (out if out.is_file() else out / "content").read_text() == "third"


def test_two_writers_of_one_file_do_not_touch_each_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replace_file(out) as first, replace_file(out) as second:
        assert first != second
        first.write_text("first")
        assert in_child(lambda: write_file(out, "child")) == 0 and out.read_text() == "child"
        second.write_text("second")
    assert out.read_text() == "first" and names(tmp_path) == ["out"]
    with atomic_folder(tmp_path / "folder") as one, atomic_folder(tmp_path / "other") as two:
        assert one != two
    assert names(tmp_path) == ["folder", "other", "out"]


def test_a_process_that_was_forked_holds_no_lock(tmp_path: Path) -> None:
    """A worker outlives the killed writer that started it; the next writer takes the name all the same."""
    read, wait = os.pipe()

    def write() -> None:
        with replace_file(tmp_path / "out") as aside:
            aside.write_text("half")
            if not os.fork():
                os.close(wait)
                os.read(read, 1)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(write) == -signal.SIGKILL
    write_file(tmp_path / "out", "whole")
    assert names(tmp_path) == ["out"]
    os.close(wait)
    os.close(read)


def test_what_others_planted_under_that_name_is_not_written_to(tmp_path: Path) -> None:
    """In a folder that all may write to, the name can be known before."""
    planted = tmp_path / f".partial-{asides.USUAL}-out"
    (tmp_path / "theirs").write_text("theirs")
    planted.symlink_to(tmp_path / "theirs")
    write_file(tmp_path / "out", "mine")
    assert planted.is_symlink() and (tmp_path / "theirs").read_text() == "theirs"
    planted.unlink()
    os.link(tmp_path / "theirs", planted)
    write_file(tmp_path / "out", "mine again")
    assert (tmp_path / "theirs").read_text() == "theirs" and (tmp_path / "out").read_text() == "mine again"
    os.mkfifo(planted)
    write_file(tmp_path / "out", "once more")
    assert (tmp_path / "out").read_text() == "once more"


def test_a_folder_between_two_renames_is_put_back(tmp_path: Path) -> None:
    """Killed there, its older content is under a hidden name; the next writer keeps what it does not write itself."""
    write_folder(tmp_path / "out", "first")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    os.replace(tmp_path / "out", tmp_path / f".replaced-{asides.USUAL}-out")
    write_folder(tmp_path / "out", "second")
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "content").read_text() == "second"
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_without_locks_everyone_has_a_name_of_their_own(
    write: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asides, "try_lock", lambda descriptor, alone=True: None)
    write(tmp_path / "out", "first")
    write(tmp_path / "out", "second")
    assert names(tmp_path) == ["out"]


def test_a_file_of_a_user_is_written_to_as_before(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "out.json") as aside:
            aside.write_text("{}")
    finally:
        os.umask(before)
    assert (tmp_path / "out.json").stat().st_mode & 0o777 == 0o640
