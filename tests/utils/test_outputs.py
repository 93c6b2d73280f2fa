"""What may be written to: DPTR's own files and folders, and what is no plain file; nothing of a user's."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from dptr.utils.errors import UserError
from dptr.utils.files import atomic_file, list_files
from dptr.utils.html import wrap
from dptr.utils.outputs import check_file, check_folder, is_marked, lies_in, mark, writes_through
from dptr.version import __version__


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (7, 5), "red").save(buffer, "PNG")
    return buffer.getvalue()


WRITTEN = {
    "a.json": b'{\n "model": "a",\n "results": []\n}\n',
    "compact.json": b'{"a":1}',
    "empty.json": b"{}\n",
    "a.html": wrap("Title", "Words", "<main></main>").encode(),
    "a.png": png(),
}


def write(path: Path, content: bytes) -> None:
    with atomic_file(path) as aside:
        aside.write_bytes(content)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_written_file_is_replaced_and_what_is_not_stays(name: str, tmp_path: Path) -> None:
    path, content = tmp_path / name, WRITTEN[name]
    path.write_bytes(content)  # somebody's
    assert not is_marked(path)
    with pytest.raises(UserError) as error:
        write(path, content)
    assert (
        str(error.value)
        == f"{path}: exists, and nothing in it says that dptr wrote it; pass another name, or remove it yourself"
    )
    assert list_files(tmp_path) == [name] and path.read_bytes() == content
    path.unlink()
    for _ in range(2):
        write(path, content)
        assert is_marked(path) and list_files(tmp_path) == [name]
    once = path.read_bytes()
    mark(path)
    assert path.read_bytes() == once


def test_marked_files_hold_what_they_held(tmp_path: Path) -> None:
    for name, content in WRITTEN.items():
        write(tmp_path / name, content)
        written = (tmp_path / name).read_bytes()
        if name.endswith(".json"):
            assert json.loads(written) == {"dptr": __version__, **json.loads(content)}
        elif name.endswith(".html"):
            generator = f'\n<meta name="generator" content="dptr {__version__}">'
            assert written.decode().replace(generator, "") == content.decode() and written.count(b"generator") == 1
        else:
            with Image.open(tmp_path / name) as image:
                image.load()  # checks the chunks' sums
                assert image.info["Software"] == f"dptr {__version__}" and image.getpixel((3, 3)) == (255, 0, 0)
    assert (tmp_path / "a.json").read_text().startswith(f'{{\n "dptr": "{__version__}",\n "model"')


def test_what_exports_and_banks_say_is_known(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2)}
    files = {
        "bank": (save(tensors, {"dptr-bank-1": "{}"}), True),
        "other.safetensors": (save(tensors, {"format": "pt"}), False),
        "bare.safetensors": (save(tensors), False),
        "model.onnx": (b"\x08\x08\x12\x04dptr:\x9f", True),
        "other.onnx": (b"\x08\x08\x12\x07pytorch:\x9f", False),
        "labels.tsv": (b"dptr.png\tdptr\n", False),
        "list.json": (b'[{"dptr": 1}]', False),
        "later.json": (b'{"a": {"dptr": 1}}', False),
        "page.html": (b"<!doctype html><html>dptr</html>", False),
    }
    for name, (content, ours) in files.items():
        (tmp_path / name).write_bytes(content)
        assert is_marked(tmp_path / name) is ours, name
    assert not is_marked(tmp_path / "none") and not is_marked(tmp_path)


def test_a_shipped_export_is_known() -> None:
    from dptr.weights import model_file

    assert is_marked(model_file("dptr-en-tiny", "model.onnx"))


def test_a_marked_file_gives_way_only_to_its_own_kind(tmp_path: Path) -> None:
    write(tmp_path / "a.json", WRITTEN["a.json"])
    check_file(tmp_path / "a.json", kind="json")
    for kind in ("html", "png", "onnx", "safetensors", ""):
        with pytest.raises(UserError, match="a json file of dptr, not replaced by another kind"):
            check_file(tmp_path / "a.json", kind=kind)


def test_an_empty_file_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "made-by-mktemp").touch()
    write(tmp_path / "made-by-mktemp", b"{}")
    assert json.loads((tmp_path / "made-by-mktemp").read_text()) == {"dptr": __version__}


def test_files_in_the_way_are_told_before_the_work(tmp_path: Path) -> None:
    mine, ours = tmp_path / "mine.txt", tmp_path / "ours.json"
    mine.write_text("mine")
    write(ours, b"{}")
    for path, part in (
        (mine, "nothing in it says that dptr wrote it"),
        (tmp_path, "a folder; pass the name of a file"),
        (mine / "a.json", "Not a directory; pass another name"),
        (tmp_path / "link.txt", "nothing in it says that dptr wrote it"),
        (tmp_path / "hard.txt", "nothing in it says that dptr wrote it"),
    ):
        if path.name == "link.txt":
            path.symlink_to(mine)
        elif path.name == "hard.txt":
            os.link(mine, path)
        with pytest.raises(UserError) as error:
            check_file(path)
        assert str(path) in str(error.value) and part in str(error.value) and "\n" not in str(error.value)
    check_file(tmp_path / "new" / "deep" / "a.json")
    check_file(ours, [mine, tmp_path])
    (tmp_path / "same.json").symlink_to(ours)
    for again in (ours, tmp_path / "same.json", tmp_path / "new" / ".." / "ours.json"):
        (tmp_path / "new").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="also what is read; pass another name"):
            check_file(ours, [mine, again])


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written to; pass another path"):
        check_file(tmp_path / "deep" / "a.json")
    with pytest.raises(UserError, match="cannot be written to; pass another path"):
        check_folder(tmp_path / "deep", "pack", "pack.json", ())


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "a.json").symlink_to("real/a.json")  # not there yet
    for content in (b'{"a": 1}', b'{"a": 2}'):
        write(tmp_path / "a.json", content)
        assert os.readlink(tmp_path / "a.json") == "real/a.json"
        assert json.loads((tmp_path / "real" / "a.json").read_text())["a"] == json.loads(content)["a"]
    (tmp_path / "real" / "a.json").write_text("mine")
    with pytest.raises(UserError, match="nothing in it says that dptr wrote it"):
        write(tmp_path / "a.json", b"{}")
    assert (tmp_path / "real" / "a.json").read_text() == "mine" and list_files(tmp_path) == ["a.json", "real/a.json"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_gets_the_content(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    check_file(tmp_path / "pipe")
    write(tmp_path / "pipe", b'{"a": 1}' + b" " * 200_000)  # more than a pipe holds
    reader.join(60)
    assert json.loads(read[0])["a"] == 1 and len(read[0]) > 200_000
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode) and list_files(tmp_path) == ["pipe"]


def test_a_terminal_gets_the_content() -> None:
    master, slave = os.openpty()
    path = Path(os.ttyname(slave))
    assert writes_through(path)
    write(path, b'{"a": 1}')
    assert b'"a": 1' in os.read(master, 1000) and stat.S_ISCHR(path.stat().st_mode)
    os.close(master)
    os.close(slave)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_stays_one(tmp_path: Path) -> None:
    null, disk = tmp_path / "null", tmp_path / "disk"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(disk, 0o666 | stat.S_IFBLK, os.makedev(7, 255))
        os.close(os.open(null, os.O_WRONLY))
    except OSError as error:
        pytest.skip(f"no devices here: {error}")
    write(null, b"{}")
    assert stat.S_ISCHR(null.lstat().st_mode) and list_files(tmp_path) == ["disk", "null"]
    with pytest.raises(UserError, match="a disk; pass the name of a file"):
        check_file(disk)


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="needs /dev/stdout")
@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
def test_standard_output_is_added_to_whatever_it_goes_to(append: bool, by_name: bool, tmp_path: Path) -> None:
    """A file that the shell writes to: nothing that was printed before or after is lost."""
    out = tmp_path / "out.txt"
    out.write_text("before\n")
    code = (
        "import sys; from dptr.utils.files import atomic_file\nprint('one')\n"
        "with atomic_file(sys.argv[1]) as aside: aside.write_text('two\\n')\nprint('three')"
    )
    with open(out, "a" if append else "w") as file:
        path = str(out) if by_name else "/dev/stdout"
        subprocess.run([sys.executable, "-c", code, path], stdout=file, check=True, timeout=60)
    assert out.read_text() == "before\n" * append + "one\ntwo\nthree\n"
    assert list_files(tmp_path) == ["out.txt"]


def test_folders_are_new_empty_or_known_by_their_manifest(tmp_path: Path) -> None:
    def check(folder: Path) -> bool:
        return check_folder(folder, "pack", "pack.json", ("recipe", "count"))

    assert check(tmp_path / "new" / "deep") is False and list_files(tmp_path) == []
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".partial-0badcafe-pack.json").touch()  # of a killed writer, or of another job
    assert check(folder) is False
    for name, content in (("a.txt", "mine"), ("pack.json", "[]"), ("pack.json", "not JSON"), ("pack.json", "{}")):
        (folder / name).write_text(content)
        with pytest.raises(UserError) as error:
            check(folder)
        assert str(error.value).startswith(f"{folder}: not empty (a.txt") and "no pack that dptr made" in str(
            error.value
        )
    (folder / "pack.json").write_text('{"recipe": 1, "count": 2, "more": 3}')
    assert check(folder) is True
    (tmp_path / "link").symlink_to(folder)
    assert check(tmp_path / "link") is True
    for file in (folder / "a.txt", folder / "a.txt" / "deep"):
        with pytest.raises(UserError, match=r"cannot write .*a file; pass|cannot write .* is a file; pass"):
            check(file)


def test_where_a_path_lies_is_told_by_what_it_leads_to(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.png").touch()
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "picture.png").symlink_to("folder/deep/a.png")
    inside = (
        folder, folder / "deep" / "a.png", folder / "none" / "a.png", tmp_path / "link" / "deep",
        tmp_path / "picture.png", tmp_path / "folder" / "deep" / ".." / "a.png",
    )  # fmt: skip
    assert all(lies_in(path, folder) and lies_in(path, tmp_path / "link") for path in inside)
    (folder / "away").symlink_to(tmp_path)
    outside = tmp_path, tmp_path / "folder2", folder / "..", folder / "away" / "a.png", folder / ".." / "a.png"
    assert not any(lies_in(path, folder) for path in outside)
    assert not lies_in(folder, tmp_path / "none")


def test_a_full_disk_keeps_the_older_file(tmp_path: Path) -> None:
    write(tmp_path / "a.json", b'{"a": 1}')
    before = (tmp_path / "a.json").read_bytes()
    with (
        pytest.raises(UserError, match="No space left on device; free space"),
        atomic_file(tmp_path / "a.json") as aside,
    ):
        aside.write_bytes(b'{"a": ')
        raise OSError(28, "No space left on device")
    assert (tmp_path / "a.json").read_bytes() == before and list_files(tmp_path) == ["a.json"]
