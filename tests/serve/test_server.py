"""The server as a program: how it starts, what slow callers get, and how it ends."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from helpers_docs import ROOT, blocks, parsed
from helpers_photo import PHOTOGRAPH, PHOTOGRAPHED
from helpers_serve import CROPS, make_app
from helpers_signal import start

from dptr.cli.app import run
from dptr.serve import server
from dptr.serve.server import address_of, bind, configure

NAME = "a-name-of-nobodys-business.jpg"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``dptr serve`` with the smallest model; and its address."""
    command = [sys.executable, "-m", "dptr", "serve", "--port", "0", "--model", "dptr-en-tiny", "--log"]
    with start(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as running:
        assert running.stderr is not None
        said = running.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found, said
        yield running, found[0]
        if running.poll() is None:
            running.kill()


def test_it_ends_once_what_runs_is_answered_and_tells_nobody_what_it_was(
    program: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    running, address = program
    answers: list[httpx.Response] = []

    def post() -> None:
        files = {"files": (NAME, PHOTOGRAPH.read_bytes())}
        answers.append(httpx.post(f"{address}/v1/ocr", files=files, timeout=60))

    thread = threading.Thread(target=post)
    thread.start()
    deadline = time.monotonic() + 30
    while "dptr_requests_running 2.0" not in httpx.get(f"{address}/metrics").text and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    thread.join(60)
    _, said = running.communicate(timeout=30)
    assert answers[0].status_code == 200
    assert answers[0].json()["pages"][0]["text"] == PHOTOGRAPHED
    assert running.returncode == 0 and said.endswith("dptr: stopped\n")
    assert '"POST /v1/ocr HTTP/1.1" 200' in said and NAME not in said
    assert not list(tmp_path.rglob("*"))


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server in a thread; it waits a fifth of a second for the head of a request, and two seconds for another."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(server, "KEEP_SECONDS", 2)
    running = uvicorn.Server(configure(make_app(upload=0.3, megabytes=1), 1, logs=False))
    bound = bind("127.0.0.1", 0)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
    thread.start()
    yield address_of(bound)
    running.should_exit = True
    thread.join(10)


def test_slow_callers_are_given_up_while_others_are_served(address: str) -> None:
    where = "127.0.0.1", int(address.rpartition(":")[2])
    with httpx.Client(base_url=address) as client:
        again = socket.create_connection(where)  # its second head is slow
        again.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not again.recv(4096).endswith(b"}"):
            pass
        slow = [socket.create_connection(where) for _ in range(50)]
        for each in (*slow, again):
            each.settimeout(5)
            each.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        body = socket.create_connection(where)
        body.settimeout(5)
        body.sendall(b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        body.sendall(b"Content-Length: 99\r\n\r\n{")
        for _ in range(5):
            files = {"files": ("clean.png", (CROPS / "clean.png").read_bytes())}
            assert client.post("/v1/read", files=files).json()["readings"][0]["text"] == "Market"
        assert [each.recv(100) for each in (*slow, again)] == [b""] * 51  # closed
        assert b"408" in body.recv(4096)
        for each in (*slow, again, body):
            each.close()


def test_keeps_connections_longer_than_proxies() -> None:
    """What proxies keep open and a server has closed answers 502 now and then: nginx keeps 60 s, Caddy 120 s."""
    assert configure(make_app(), 1, logs=False).timeout_keep_alive == server.KEEP_SECONDS > 120


def test_a_connection_stays_open_between_two_requests(address: str) -> None:
    """For ``KEEP_SECONDS``, whatever the head of a request may take; uvicorn's own is 5 s."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=4.5) as connection:
        for pause in (0.0, 0.5):
            time.sleep(pause)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                piece = connection.recv(4096)
                assert piece, "closed"
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200")
        assert connection.recv(1) == b"", "still open"


def test_who_sends_too_much_hears_so(address: str) -> None:
    for content in (bytes(9_000_000), iter([bytes(100_000)] * 90)):  # declared, and in pieces
        answer = httpx.post(f"{address}/v1/read", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413


def test_a_caller_who_has_gone_is_forgotten(address: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{address}/v1/ocr", files={"files": CROPS.joinpath("clean.png").read_bytes()}, timeout=0.001)
    deadline = time.monotonic() + 10
    while "dptr_requests_running 1.0" not in httpx.get(f"{address}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_client_of_the_documents(address: str, tmp_path: Path) -> None:
    (client,) = (block for block in blocks(ROOT / "docs" / "serve.md") if block.language == "python")
    shutil.copy(CROPS / "clean.png", tmp_path / "photo.jpg")
    code = client.text.replace("http://127.0.0.1:8000", address)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "Market\n", done.stderr


def test_files_for_containers_name_what_is_there() -> None:
    recipe = (ROOT / "Containerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", recipe, re.MULTILINE) for name in line.split()]
    let_in = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == let_in and all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    licenses = project["project"]["license-files"]
    assert {*licenses, project["project"]["readme"]} <= let_in  # without them the package is not built
    words = re.search(r"^CMD (\[.*\])$", recipe, re.MULTILINE)
    assert words and parsed(json.loads(words[1])[1:])[1]["host"] == "0.0.0.0"


def check_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert run(["serve", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_a_port_in_use_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        check_refused(capsys, ["--port", str(port), "--model", "dptr-en-tiny"], f"port {port}: in use")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nothing.onnx"], "no such file"),
        (["--model", "dptr-en-tiny", "--model", "dptr-en-tiny"], "another one is called"),
        (["--model", str(CROPS)], "without config.json"),
        (["--host", "0.0.0.0"], "set DPTR_TOKENS"),
        (["--host", "no such host"], "no such address"),
        (["--max-megabytes", "0"], "above 0"),
        (["--queue", "1"], "raise it"),
        (["--charset", "de"], "requests can name it as it is"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_served_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.delenv("DPTR_TOKENS", raising=False)
    if arguments[0] == "--host" and arguments[1] != "0.0.0.0":
        monkeypatch.setenv("DPTR_TOKENS", "a-secret-of-the-tests")
    check_refused(capsys, arguments, said)
