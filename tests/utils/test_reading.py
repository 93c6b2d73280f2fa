"""Devices, pipes, and endless files: refused at once, never waited for."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dptr.utils.errors import UserError
from dptr.utils.reading import read_file, resolve_inside

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes and devices")


def test_a_file_is_read_whole_and_no_further_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1000))
    assert read_file(path) == read_file(path, 1000) == path.read_bytes()
    with pytest.raises(OSError, match="larger than") as error:
        read_file(path, 999)
    assert error.value.errno == errno.EFBIG
    (tmp_path / "link").symlink_to(path)
    assert read_file(tmp_path / "link") == path.read_bytes()


def test_what_may_never_end_or_begin_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(OSError, match="a device or a pipe, not a file"):
            read_file(path)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError):
            read_file(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_pipes_of_the_shell_are_read_to_their_end_and_no_further_than_allowed() -> None:
    code = "from dptr.utils.reading import read_file; print(len(read_file('/dev/stdin', 2_000_000)))"

    def run(count: int) -> subprocess.CompletedProcess[bytes]:
        command = f'head -c {count} /dev/zero | (sleep 0.1; {sys.executable} -c "{code}")'
        return subprocess.run(["sh", "-c", command], capture_output=True, timeout=60)

    assert run(1_500_000).stdout == b"1500000\n"
    assert b"larger than 1 MiB" in run(3_000_000).stderr


@pytest.mark.parametrize("name", ["/dev/zero", "../up.png", "a/../../up.png", "..", "../data-2/a.png"])
def test_paths_that_lead_out_of_their_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leads out of"):
        resolve_inside(tmp_path / "data", name)


@pytest.mark.parametrize("name", ["a.png", "a/b.png", "..a.png", "./a.png", "a..b/c", "a/../b.png"])
def test_paths_that_stay_in_their_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, Path("data"), Path(".")):
        assert resolve_inside(folder, name) == folder / name
    assert resolve_inside(tmp_path, str(tmp_path / name)) == tmp_path / name
    assert resolve_inside("/", "/a/b.png") == Path("/a/b.png")
