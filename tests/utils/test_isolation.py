"""A decoder may die, hang, take memory, or lie: its file has an error of one line, and nothing else has."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helpers_isolation as bad
import numpy as np
import pytest
from helpers_photo import PHOTOGRAPH
from PIL import Image

from dptr.cli.app import run
from dptr.inference.reader import Reader
from dptr.utils.errors import TooLarge, UserError
from dptr.utils.images import FRAMES, open_image
from dptr.utils.isolation import Isolation, call_here, decode, whole_numbers
from fuzz.seeds import draw, encode, pictures

MODEL = "dptr-en-tiny"


@pytest.fixture(scope="module")
def apart() -> Iterator[Isolation]:
    made = Isolation(memory=512 << 20)
    yield made
    made.close()


def process_of(isolation: Isolation) -> int:
    return int(isolation.call(bad.describe, b"", "x")[0][0])


def test_it_is_another_process_that_knows_no_secrets(apart: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPTR_TOKENS", "a-secret-of-the-tests")
    fresh = Isolation()
    (process, size, name, settings, environment), image = fresh.call(bad.describe, b"12345", "a.png", number=1, s="t")
    fresh.close()
    assert process != os.getpid() and image is None
    assert (size, name, settings) == (5, "a.png", {"number": 1, "s": "t"})
    assert "DPTR_TOKENS" not in environment and "HOME" not in environment
    assert call_here(bad.describe, b"", "x")[0][0] == os.getpid()


def test_one_process_answers_again_and_again_and_content_is_kept(apart: Isolation) -> None:
    content = bytes(1000)
    answers = [apart.call(bad.describe, each, "x")[0][:2] for each in (content, content, b"ab", content)]
    assert [size for _, size in answers] == [1000, 1000, 2, 1000]
    assert len({process for process, _ in answers}) == 1


@pytest.mark.parametrize(("function", "said"), [(bad.die, "SIGSEGV"), (bad.end, "code 3")])
def test_it_may_die(function: Callable[..., Any], said: str, apart: Isolation) -> None:
    before = process_of(apart)
    with pytest.raises(UserError, match=rf"^x\.png: its decoder ended with {said}; save it anew as PNG"):
        apart.call(function, b"", "x.png")
    assert process_of(apart) != before


def test_it_may_be_killed_between_two_files(apart: Isolation) -> None:
    os.kill(process_of(apart), signal.SIGKILL)
    time.sleep(0.05)
    with pytest.raises(UserError, match="SIGKILL"):
        apart.call(bad.describe, b"", "x")
    assert process_of(apart)


def test_it_may_take_too_long() -> None:
    isolation = Isolation(seconds=0.3)
    with pytest.raises(UserError, match=r"^x: not decoded within 0\.3 s"):
        isolation.call(bad.hang, b"", "x")
    isolation.close()


def test_it_may_take_too_much_memory(apart: Isolation) -> None:
    before = process_of(apart)
    assert apart.call(bad.allocate, b"", "x", count=64 << 20)[0] == 64 << 20
    with pytest.raises(TooLarge, match=r"^x: takes too much memory to decode"):
        apart.call(bad.allocate, b"", "x", count=2 << 30)
    assert process_of(apart) == before


def test_it_writes_no_file_and_what_it_prints_is_not_heard(apart: Isolation, tmp_path: Path, capfd: Any) -> None:
    assert apart.call(bad.write, b"", "x", path=str(tmp_path / "file"))[0] in ("File too large", "Permission denied")
    value, image = apart.call(bad.talk, b"", "x")
    assert value == "heard" and image is not None and image.getpixel((1, 0)) == (1, 2, 3)
    assert capfd.readouterr() == ("", "")


def test_errors_keep_their_kind(apart: Isolation) -> None:
    with pytest.raises(TooLarge, match=r"^x: too large$"):
        apart.call(bad.refuse, b"", "x")


@pytest.mark.parametrize(
    "answer",
    [
        b"not JSON\n",
        b"[1]\n",
        b'{"error": ["SystemExit", "x"]}\n',
        b'{"error": null, "value": 1, "size": [1000000, 1000000], "frames": null, "dpi": null}\n',
        b'{"error": null, "value": 1, "size": [-1, 5], "frames": null, "dpi": null}\n',
        b'{"error": null, "value": 1, "size": [2, 2], "frames": null, "dpi": null}\nabc',
        b"[" * 100_000 + b"\n",
    ],
)
def test_answers_are_not_trusted(answer: bytes, apart: Isolation) -> None:
    with pytest.raises(UserError, match=r"^x: its decoder ended"):
        apart.call(bad.forge, answer, "x")
    assert process_of(apart)


def test_pictures_and_errors_are_those_of_open_image(apart: Isolation, tmp_path: Path) -> None:
    cases = [*pictures(), b"", b"no picture", pictures()[3][:60]]
    for number, content in enumerate(cases):
        try:
            expected = open_image(content)
        except UserError as error:
            with pytest.raises(type(error)) as raised:
                apart.open_image(content)
            assert str(raised.value) == str(error)
            continue
        opened = apart.open_image(content)
        assert opened.mode == "RGB" and np.array_equal(np.asarray(opened), np.asarray(expected)), number
        assert opened.info.get(FRAMES) == expected.info.get(FRAMES)
    (tmp_path / "a.png").write_bytes(cases[4])
    with open(tmp_path / "a.png", "rb") as file:
        opened = [apart.open_image(each) for each in (tmp_path / "a.png", file, draw(), np.asarray(draw()))]
    assert {each.size for each in opened} == {draw().size}
    for missing in (tmp_path / "none.png", tmp_path):
        with pytest.raises(UserError, match=str(missing)):
            apart.open_image(missing)


def test_size_is_bounded_before_pixels_are_decoded(apart: Isolation) -> None:
    content = encode(draw(), "PNG")
    assert apart.call(decode, content, "x", most_pixels=640)[1] is not None
    with pytest.raises(TooLarge, match="40x16 pixels"):
        apart.call(decode, content, "x", most_pixels=639)


def test_threads_share_processes() -> None:
    isolation = Isolation(workers=2)
    contents = [encode(draw(width=20 + number), "PNG") for number in range(8)]
    widths: dict[int, list[int]] = {}

    def work(number: int) -> None:
        widths[number] = [isolation.open_image(contents[number]).width for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert widths == {number: [20 + number] * 5 for number in range(8)}
    isolation.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_gets_one_of_its_own(apart: Isolation) -> None:
    before = process_of(apart)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, str(process_of(apart)).encode())
            apart.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(read, 20)) != before == process_of(apart)


def test_numbers_are_checked() -> None:
    assert whole_numbers([1, 3], "x") == [1, 3]
    for value in (None, [0], ["1"], [True], [1.5], {"1": 1}):
        with pytest.raises(UserError, match=r"^x: its decoder went wrong"):
            whole_numbers(value, "x")


# --- what uses it -----------------------------------------------------------------------------------------------------


def test_a_reader_reads_the_same() -> None:
    crop = encode(draw(), "PNG")
    plain, apart = Reader(MODEL), Reader(MODEL, isolate=True)
    assert apart.read(crop) == plain.read(crop)
    assert pickle.loads(pickle.dumps(apart)).read(crop) == plain.read(crop)
    assert "isolate=True" in repr(apart) and "isolate" not in repr(plain)


def test_dptr_read_goes_on_behind_a_decoder_that_died(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dptr.utils.isolation.decode", bad.die_of_red)
    paths = [str(tmp_path / name) for name in ("a.png", "red.png", "b.png")]
    for path in paths:
        draw().save(path)
    assert run(["read", "--isolate", "--model", MODEL, *paths]) == 2
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == [paths[0], paths[2]]
    assert err == f"dptr: error: {paths[1]}: its decoder ended with SIGSEGV; save it anew as PNG, or leave it out\n"


def test_dptr_ocr_reads_the_same(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("pypdfium2")
    assert run(["ocr", str(PHOTOGRAPH), "-o", str(tmp_path / "a.pdf")]) == 0
    draw().save(tmp_path / "b.tif", save_all=True, append_images=[draw(width=60)])
    (tmp_path / "c.pdf").write_bytes(b"%PDF-nothing")
    inputs = [str(tmp_path / name) for name in ("a.pdf", "b.tif", "c.pdf", "d.png")]
    outcomes = []
    for options in ([], ["--isolate"]):
        capsys.readouterr()
        for layer in ("use", "ignore"):
            assert run(["ocr", *options, "--text-layer", layer, "--format", "json", *inputs]) == 2
        outcomes.append(capsys.readouterr())
    assert outcomes[0] == outcomes[1]
    assert "Fresh" in outcomes[0].out


def test_a_server_answers_the_same_and_outlives_its_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi")
    from helpers_serve import find_all, make_client, tiny

    from dptr.serve import recognizers
    from dptr.serve.app import create_app
    from dptr.serve.limits import Limits

    isolation = Isolation(workers=2)
    calls = {"apart": isolation.call, "here": call_here}
    crop, large = encode(draw(), "PNG"), encode(Image.new("RGB", (2000, 1000)), "PNG")
    files = [("files", (f"{number}.png", each)) for number, each in enumerate((crop, b"no picture", large, crop[:60]))]
    answers: dict[str, list[Any]] = {}
    for name, call in calls.items():
        app = create_app(recognizers.Recognizers({"tiny": tiny()}, find_all, call), Limits(pixels=1))
        with make_client(app) as client:
            both = [client.post(f"/v1/{route}", files=files) for route in ("read", "ocr")]
            answers[name] = [(each.status_code, each.json()) for each in both]
            if name == "apart":
                monkeypatch.setattr(recognizers, "decode", bad.die_of_red)
                died = client.post("/v1/read", files=[("files", ("red.png", crop)), files[0]])
                monkeypatch.undo()
                assert died.status_code == 200 and len(died.json()["errors"]) == 1
                assert "SIGSEGV" in died.text
    isolation.close()
    assert answers["apart"] == answers["here"]
    assert [status for status, _ in answers["here"]] == [200, 200]
