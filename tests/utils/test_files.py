import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dptr.utils.errors import UserError
from dptr.utils.files import (
    atomic_folder,
    digest,
    list_files,
    lock_folder,
    read_json,
    remove_folder,
    remove_partial,
    replace_file,
    unused_name,
    write_json,
)
from dptr.utils.outputs import PARTIAL, REPLACED
from dptr.utils.tensors import load_tensors, save_tensors

LIMIT = 100_000  # bytes a file may have under ``small_disk``


@pytest.fixture
def small_disk():
    """Writing beyond LIMIT bytes fails as it does on a full disk, only with another errno (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def one_line(error: pytest.ExceptionInfo[UserError], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


def test_whole_file_appears_only_when_complete(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with replace_file(path) as aside:
        aside.write_text("half")
        assert not path.exists()
        aside.write_text("whole")
    assert path.read_text() == "whole"
    assert hidden(path.parent) == []


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError, UserError])
def test_failure_keeps_the_older_file_and_folder(tmp_path, raised):
    (tmp_path / "file").write_text("old")
    with pytest.raises(raised), replace_file(tmp_path / "file") as aside:
        aside.write_text("new")
        raise raised
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("old")
    with pytest.raises(raised), atomic_folder(tmp_path / "folder") as aside:
        (aside / "a").write_text("new")
        raise raised
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "a").read_text() == "old"
    assert hidden(tmp_path) == []


def test_whole_folder_replaces_what_it_has_and_what_goes(tmp_path):
    """Whatever else is in the older one stays: the same file, link, or empty folder."""
    folder = tmp_path / "folder"
    for number, names in enumerate((["a", "b", "sub/c"], ["b", "d"])):
        with atomic_folder(folder, ["a"]) as aside:
            for name in names:
                (aside / name).parent.mkdir(exist_ok=True)
                (aside / name).write_text(f"{name} {number}")
        if number:
            break
        (folder / "notes" / "deep").mkdir(parents=True)
        (folder / "notes" / "mine.txt").write_text("mine")
        (folder / "away").symlink_to("/etc")
        (folder / "nowhere").symlink_to("no such file")
        before = (folder / "notes" / "mine.txt").stat().st_ino
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        "away", "b", "d", "notes", "notes/deep", "notes/mine.txt", "nowhere", "sub", "sub/c",
    ]  # fmt: skip
    assert [(folder / name).read_text() for name in ("b", "d", "sub/c", "notes/mine.txt")] == [
        "b 1",
        "d 1",
        "sub/c 0",
        "mine",
    ]
    assert (folder / "notes" / "mine.txt").stat().st_ino == before
    assert os.readlink(folder / "away") == "/etc" and os.readlink(folder / "nowhere") == "no such file"
    assert hidden(tmp_path) == []


def test_what_stays_is_copied_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def link(*_arguments, **_options):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    monkeypatch.setattr(os, "link", link)
    with atomic_folder(tmp_path / "folder") as aside:
        (aside / "new").write_text("new")
    assert {path.name: path.read_text() for path in (tmp_path / "folder").iterdir()} == {
        "mine.txt": "mine",
        "new": "new",
    }
    assert hidden(tmp_path) == []


def test_a_link_to_a_file_or_a_folder_stays_one(tmp_path):
    (tmp_path / "real" / "folder").mkdir(parents=True)
    (tmp_path / "real" / "file").write_text("old")
    (tmp_path / "file").symlink_to("real/file")
    (tmp_path / "folder").symlink_to("real/folder")
    (tmp_path / "later").symlink_to("real/later")
    for name in ("file", "later"):
        with replace_file(tmp_path / name) as aside:
            aside.write_text("new")
        assert (tmp_path / name).is_symlink() and (tmp_path / "real" / name).read_text() == "new"
    with atomic_folder(tmp_path / "folder") as aside:
        (aside / "a").write_text("new")
    assert (tmp_path / "folder").is_symlink() and (tmp_path / "real" / "folder" / "a").read_text() == "new"
    assert hidden(tmp_path) == hidden(tmp_path / "real") == []


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o600)
    with replace_file(tmp_path / "file") as aside:
        aside.write_text("new")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_folders_go_only_with_what_is_known_in_them(tmp_path):
    for name in ("images/000000001.png", "images/.partial-0badcafe-000000002.png", "labels.tsv", "mine.txt"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_text("x")
    patterns = ("images/[0-9]*.png", "labels.tsv")
    with pytest.raises(UserError) as error:
        remove_folder(tmp_path / "set", patterns)
    one_line(error, str(tmp_path / "set"), "mine.txt", "yourself")
    assert len(list_files(tmp_path / "set")) == 4
    (tmp_path / "set" / "mine.txt").unlink()
    remove_folder(tmp_path / "set", patterns)
    assert not (tmp_path / "set").exists()
    remove_folder(tmp_path / "set", patterns)


def test_a_name_that_is_taken_is_not_used(tmp_path):
    assert unused_name(tmp_path / "a.txt") == tmp_path / "a.txt"
    for name in ("a.txt", "a-2.txt"):
        (tmp_path / name).touch()
    assert unused_name(tmp_path / "a.txt") == tmp_path / "a-3.txt"


def test_whole_folder_leaves_a_file_of_its_name_alone(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UserError) as error, atomic_folder(tmp_path / "notes"):
        pytest.fail("must refuse before anything is written")
    one_line(error, "notes", "another path")
    assert (tmp_path / "notes").read_text() == "mine"


def test_full_disk_is_one_line_and_keeps_what_was_there(tmp_path, small_disk):
    big = b"x" * (2 * LIMIT)
    (tmp_path / "file").write_text("old")
    with pytest.raises(UserError) as error, replace_file(tmp_path / "file") as aside:
        aside.write_bytes(big)
    one_line(error, str(tmp_path / "file"), "free space")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("old")
    with pytest.raises(UserError) as error, atomic_folder(tmp_path / "folder") as aside:
        (aside / "a").write_bytes(big)
    one_line(error, str(tmp_path / "folder"), "free space")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "a").read_text() == "old"
    assert hidden(tmp_path) == []


def test_full_disk_while_saving_tensors(tmp_path, small_disk):
    path = tmp_path / "model" / "model.safetensors"
    save_tensors(path, {"a": torch.ones(10)})
    with pytest.raises(UserError) as error:
        save_tensors(path, {"a": torch.zeros(LIMIT)})
    one_line(error, str(path), "free space")
    with pytest.raises(UserError) as error, atomic_folder(path.parent) as aside:
        save_tensors(aside / path.name, {"a": torch.zeros(LIMIT)})
    one_line(error, str(path))
    assert PARTIAL not in str(error.value)
    assert torch.equal(load_tensors(path, "model")["a"], torch.ones(10))
    assert hidden(tmp_path) == hidden(path.parent) == []


def test_full_disk_noticed_only_at_the_end(tmp_path, monkeypatch):
    def fsync(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_json(tmp_path / "value.json", [1])
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError) as error:
        write_json(tmp_path / "value.json", [2])
    one_line(error, "No space left on device", "value.json")
    assert read_json(tmp_path / "value.json", "value") == [1]
    assert hidden(tmp_path) == []


def test_saved_tensors_obey_the_umask(tmp_path):
    save_tensors(tmp_path / "t.safetensors", {"a": torch.ones(1)})
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "t.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tensors_come_back_with_names_types_and_values(tmp_path):
    tensors = {
        "half": torch.randn(3, 4).half(),
        "view": torch.arange(12).reshape(3, 4).T,
        "flag": torch.tensor([True, False]),
        "none": torch.zeros(0, 2, dtype=torch.bfloat16),
    }
    save_tensors(tmp_path / "t.safetensors", tensors)
    loaded = load_tensors(tmp_path / "t.safetensors", "model")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_truncated_tensors_are_named(tmp_path, keep):
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError) as error:
        load_tensors(path, "model")
    one_line(error, "model", str(path), "anew")


def test_reading_what_is_not_there_or_no_json(tmp_path):
    with pytest.raises(UserError) as error:
        load_tensors(tmp_path / "none.safetensors", "model")
    one_line(error, "model", "none.safetensors", "check the path")
    with pytest.raises(UserError) as error:
        read_json(tmp_path / "none.json", "card")
    one_line(error, "card", "none.json", "check the path")
    for damaged in (b'{"a": ', b"\xff\xfe", b""):
        (tmp_path / "bad.json").write_bytes(damaged)
        with pytest.raises(UserError) as error:
            read_json(tmp_path / "bad.json", "card")
        one_line(error, "card", "bad.json", "damaged")


def test_json_round_trip_keeps_other_scripts_readable(tmp_path):
    value = {"label": "Ünï 漢字", "n": [1, 2.5, None, True]}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json", "value") == value
    assert "漢字" in (tmp_path / "v.json").read_text(encoding="utf-8")


def test_digest_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert digest(tmp_path / "f") == "ba7816bf8f01cfea"  # FIPS 180-2, appendix B.1


def test_remove_partial_restores_deletes_and_leaves_the_rest(tmp_path):
    for name in (f"{REPLACED}0123abcd-gone", f"{REPLACED}0123abcd-here", f"{PARTIAL}0123abcd-here", "here", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    (tmp_path / f"{PARTIAL}0123abcd-old-weights").write_text("half")
    mine = [".hidden", f"{PARTIAL}download", f"{REPLACED}photographs"]  # none of our names
    for name in mine:
        (tmp_path / name).write_text("mine")
    remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*mine, "gone", "here", "other"])
    assert (tmp_path / "gone" / "content").read_text() == f"{REPLACED}0123abcd-gone"
    assert (tmp_path / "here" / "content").read_text() == "here"
    remove_partial(tmp_path / "no such folder")


WRITER = """
import os, signal, sys
from pathlib import Path
from dptr.utils.files import atomic_folder, remove_partial, replace_file

folder, first, crash = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
calls = 0

def counted(function):
    def call(*arguments, **keywords):
        global calls
        calls += 1
        if calls == crash:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keywords)
    return call

for name in ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "scandir"):
    setattr(os, name, counted(getattr(os, name)))
remove_partial(folder)
for number in range(first, first + (1 if crash else 1_000_000)):
    with replace_file(folder / "old-file") as aside:
        aside.write_text(f"{number} " * 5000)
    with atomic_folder(folder / "folder") as aside:
        for name in "ab":
            (aside / name).write_text(f"{number} " * 5000)
    print(number, flush=True)
print("done", calls, flush=True)
"""


def check_generation(folder: Path, least: int) -> int:
    """Both outputs are whole, of one generation each, at least ``least``; returns that of the folder."""
    remove_partial(folder)
    assert hidden(folder) == []
    assert {path.name for path in folder.iterdir()} <= {"old-file", "folder"}
    texts = [path.read_text() for path in (folder / "old-file", folder / "folder" / "a", folder / "folder" / "b")]
    numbers = [int(text.split(maxsplit=1)[0]) for text in texts]
    assert texts == [f"{number} " * 5000 for number in numbers]
    assert numbers[1] == numbers[2] >= least
    assert numbers[0] >= least
    return numbers[1]


def test_killed_at_each_system_call(tmp_path):
    """The writer is killed at its n-th call that changes or opens a file, for every n until it gets through."""

    def write(first: int, crash: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(first), str(crash)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert write(1, crash=10_000).returncode == 0
    crash, last, advances = 1, 1, set()
    while (result := write(last + 1, crash)).returncode == -signal.SIGKILL:
        now = check_generation(tmp_path, last)
        advances.add(now - last)
        crash, last = crash + 1, now
    assert result.returncode == 0, result.stderr
    assert crash > 8
    assert advances == {0, 1}
    assert check_generation(tmp_path, last + 1) == last + 1


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path, kills):
    moments = random.Random(kills)
    last = 0
    for _ in range(kills):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(last + 1), "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            finished = int(process.stdout.readline())
            time.sleep(moments.uniform(0, 0.2))
            process.kill()
            lines = process.stdout.read().split()
        last = check_generation(tmp_path, max([finished, *map(int, lines)]))
    assert last > kills


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lock_ends_with_its_process_whatever_that_forked(tmp_path):
    """Data workers live on for seconds when a run is killed; --resume need not wait for them."""
    code = (
        "import os, signal, sys, time\n"
        "from dptr.utils.files import lock_folder\n"
        "with lock_folder(sys.argv[1]):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        print(os.getpid(), flush=True)\n"
        "        os.kill(os.getppid(), signal.SIGKILL)\n"
        "        time.sleep(60)\n"
        "        os._exit(0)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        process.wait()
        try:
            with lock_folder(tmp_path):
                pass
        finally:
            os.kill(child, signal.SIGKILL)
