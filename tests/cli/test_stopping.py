"""SIGTERM and SIGHUP end a command as Ctrl-C does: a line, no traceback, nothing half-written."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dptr.cli.app import run
from dptr.cli.stopping import INTERRUPTED, stops_by_signals
from dptr.inference.reader import Reader
from dptr.label import trainings
from dptr.utils.files import list_files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="without these signals")
SIGNALS = signal.SIGTERM, signal.SIGHUP


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    signal.sigpending()  # it is handled by now


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_raises_and_others_pass(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with stops_by_signals():
        with pytest.raises(KeyboardInterrupt):
            send(number)
        for each in SIGNALS:
            send(each)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_what_is_ignored_stays_ignored() -> None:
    """As nohup has SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stops_by_signals():
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_process_ends_by_them() -> None:
    """Once it runs: Python forgets the signals that reach a process while it is being forked."""
    ready, begun = os.pipe()
    with stops_by_signals():
        child = os.fork()
        if not child:
            try:
                os.write(begun, b"1")
                while True:
                    time.sleep(0.01)
            finally:
                os._exit(0)
        assert os.read(ready, 1) == b"1"
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    os.close(ready)
    os.close(begun)


def stream_one(number: signal.Signals) -> Any:
    """A reader that is stopped after one picture."""
    real = Reader.stream

    def stream(reader: Reader, sources: Iterable[Any]) -> Iterator[Any]:
        yield from real(reader, list(sources)[:1])
        send(number)
        raise AssertionError("still here")

    return stream


@pytest.mark.parametrize("number", SIGNALS)
def test_dptr_read_prints_what_was_finished(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (64, 16), "white").save(tmp_path / "crop.png")
    monkeypatch.setattr(Reader, "stream", stream_one(number))
    crop = str(tmp_path / "crop.png")
    assert run(["read", crop, crop, "--model", "dptr-en-tiny", "-o", str(tmp_path / "out.tsv")]) == INTERRUPTED
    told = capsys.readouterr()
    assert told.out.startswith(f"{crop}\t") and told.out.count("\n") == 1
    assert told.err.endswith("\ndptr: interrupted\n") and "Traceback" not in told.err
    assert list_files(tmp_path) == ["crop.png"]


COMMANDS = {
    "ocr": ("dptr.photo.ocr.OCR.stream", "ocr {}/page.png -m dptr-en-tiny -o {}/out.pdf"),
    "ocr into a folder": ("dptr.photo.ocr.OCR.stream", "ocr {}/page.png -m dptr-en-tiny -o {}/texts/"),
    "data build": ("dptr.data.importers.encode", "data build {}/table.tsv --kind table -o {}/set.lmdb"),
    "synth": (
        "dptr.synth.datasets.encode_png",
        "synth --count 9 --format folder --set render.fonts=['{fonts}'] -o {}/set",
    ),
    "new-language": ("dptr.new_language.chain.survey", "new-language ka -o {}/ka"),
    "export": ("dptr.export.render_crops", "export -m dptr-en-tiny -o {}/model.onnx"),
}
"""By name: what is being done when the signal comes, and the command."""


@pytest.mark.parametrize("command", COMMANDS)
def test_other_commands_end_in_a_line(
    command: str, font_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (64, 16), "white").save(tmp_path / "page.png")
    (tmp_path / "table.tsv").write_text("page.png\tab\n")
    work, arguments = COMMANDS[command]
    began: list[None] = []

    def stop(*arguments: object, **options: object) -> object:
        began.append(None)
        send(signal.SIGTERM)
        raise AssertionError("still here")

    monkeypatch.setattr(work, stop)
    places = ((each.replace("{}", str(tmp_path)).replace("{fonts}", str(font_folder))) for each in arguments.split())
    assert run([*places]) == INTERRUPTED
    told = capsys.readouterr()
    assert began and told.out == "" and "Traceback" not in told.err
    last = told.err.splitlines()[-1]
    resumes = command in ("synth", "data build", "new-language", "ocr into a folder")
    assert last == f"dptr: interrupted{'; continue with --resume' if resumes else ''}"
    assert not [name for name in list_files(tmp_path) if "/.partial-" in f"/{name}"]
    assert not any((tmp_path / name).exists() for name in ("out.pdf", "model.onnx", "set.lmdb"))


def test_a_training_of_dptr_label_knows_the_code() -> None:
    assert trainings.INTERRUPTED == INTERRUPTED
