"""A long run over pictures that change: does memory grow, are descriptors left open, do answers become slow?

    python research/bench/soak.py serve --minutes 120
    python research/bench/soak.py ocr --minutes 120

``serve`` starts ``dptr serve`` and sends it crops, photographs, PDFs, damaged files, faulty fields, and uploads that
break off. ``ocr`` starts ``dptr ocr`` over a folder of pictures and PDFs. Every picture is drawn anew: it is a pure
function of the seed and its number. Each minute a JSON line goes to ``--log``: answers by their status, resident memory
and open descriptors of the program and of the processes that it started, its threads, computing time an answer, and
quantiles of the seconds to an answer. Runs of several pieces have several logs. Ends with code 1 where the server
answers with another status than the request deserves, or the program ends before its time.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw, ImageFont

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
STYLES = "json", "text", "tsv", "hocr", "alto", "page", "pdf"
BUSY = 503, 504  # counted, and no fault: other programs may have the processors
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class State:
    """Of a program and the processes that it started, at a moment."""

    resident: float  # MB
    children: float  # MB
    descriptors: int
    threads: int
    seconds: float  # of computing time, of all that live


def draw_word(drawn: random.Random) -> str:
    return "".join(drawn.choices(LETTERS, k=drawn.randint(1, 12)))


def draw_picture(drawn: random.Random, words: int) -> Image.Image:
    """Words on a ground of one color."""
    size = drawn.randint(14, 40)
    width, height = (drawn.randint(200, 900), drawn.randint(120, 700)) if words > 1 else (drawn.randint(40, 300), 48)
    ground = drawn.randint(150, 255)
    image = Image.new("RGB", (width, height), (ground, ground, drawn.randint(150, 255)))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for _ in range(words):
        place = (drawn.randint(0, max(1, width - 80)), drawn.randint(0, max(1, height - size))) if words > 1 else (4, 4)
        pen.text(place, draw_word(drawn), fill=(drawn.randint(0, 90), drawn.randint(0, 90), 0), font=font)
    return image


def encode(image: Image.Image, style: str) -> bytes:
    file = io.BytesIO()
    image.save(file, style)
    return file.getvalue()


def draw_file(seed: int, number: int, crop: bool = False) -> tuple[str, bytes]:
    """The suffix and the content of a picture; some are a PDF of two pages, or damaged."""
    drawn = random.Random(f"soak {seed} {number}")
    image = draw_picture(drawn, 1 if crop else drawn.randint(2, 12))
    style = drawn.choice(("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"))
    if not crop and drawn.random() < 0.1:
        file = io.BytesIO()
        image.save(file, "PDF", save_all=True, append_images=[draw_picture(drawn, 4)])
        return ".pdf", file.getvalue()
    content = encode(image, style)
    return f".{style.lower()}", content


def break_file(drawn: random.Random, content: bytes) -> bytes:
    """A file that no decoder reads."""
    return drawn.choice((b"no picture at all", content[:20], b"", b"\x89PNG\r\n\x1a\n" + content[16:400]))


def look(pid: int) -> State:
    """The state of a program."""
    pids = [pid, *_children(pid)]
    resident = [read_resident(each) for each in pids]
    used = sum(_seconds(each) for each in pids)
    return State(
        resident[0], sum(resident[1:]), len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")), used
    )


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for each in map(int, (task / "children").read_text().split()):
            found += [each, *_children(each)]
    return found


def read_resident(pid: int | str = "self") -> float:
    """The resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK  # with those of its children that ended


@dataclass
class Minute:
    """What was answered since the last line of the log."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)


class Caller:
    """Sends requests of all kinds, one after the other, and counts the answers."""

    def __init__(self, address: str, seed: int, part: int, parts: int, pause: float) -> None:
        self._address, self._seed, self._numbers = address, seed, range(part, 1 << 40, parts)
        self._pause = pause
        self.minute = Minute()
        self.stopped = False

    def run(self) -> None:
        with httpx.Client(base_url=self._address, timeout=300) as client:
            for number in self._numbers:
                if self.stopped:
                    return
                kind, call, expected = self._choose(client, number)
                begun = time.monotonic()
                try:
                    status = call()
                except httpx.HTTPError as error:
                    status = -1
                    self.minute.wrong.append(f"{kind} {number}: {error!r}"[:200])
                self.minute.seconds[kind].append(time.monotonic() - begun)
                self.minute.statuses[f"{kind} {status}"] += 1
                if status not in expected:
                    self.minute.wrong.append(f"{kind} {number}: {status}")
                time.sleep(self._pause)

    def _choose(self, client: httpx.Client, number: int) -> tuple[str, Callable[[], int], tuple[int, ...]]:
        drawn = random.Random(f"request {self._seed} {number}")
        crops = [draw_file(self._seed, 10 * number + index, crop=True) for index in range(drawn.randint(1, 6))]
        page = draw_file(self._seed, 10 * number + 9)

        def post(path: str, files: list[bytes], **fields: Any) -> Callable[[], int]:
            sent = [("files", (f"a{index}", data)) for index, data in enumerate(files)]
            return lambda: client.post(path, files=sent, data=fields).status_code

        chance = drawn.random()
        contents = [content for _, content in crops]
        if chance < 0.5:
            return "read", post("/v1/read", contents), (200, *BUSY)
        if chance < 0.6:
            return "pattern", post("/v1/read", contents, pattern=draw_word(drawn) + "[A-Z]*|[0-9]+"), (200, *BUSY)
        if chance < 0.85:
            style = drawn.choice(STYLES)
            right = 400 if (style, page[0]) == ("page", ".pdf") else 200  # that format holds one page
            return "ocr", post("/v1/ocr", [page[1]], format=style), (right, *BUSY)
        if chance < 0.92:
            return "damaged", post("/v1/read", [break_file(drawn, page[1])]), (400, 415, 422)
        if chance < 0.95:
            return "faulty", post("/v1/read", contents, pattern="("), (400,)
        if chance < 0.98:
            return "metrics", lambda: client.get("/metrics").status_code, (200,)
        return "broken off", lambda: self._break_off(page[1]), (0,)

    def _break_off(self, content: bytes) -> int:
        host, _, port = self._address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/ocr HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {9 * len(content)}\r\n\r\n".encode() + content)
        return 0


def quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[min(int(share * len(values)), len(values) - 1)], 3)


def soak_serve(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A line a minute; the last may have faults."""
    models = [part for name in options.model for part in ("--model", name)]
    command = [sys.executable, "-m", "dptr", "serve", "--port", "0", *models]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        said: list[str] = []
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", line := running.stderr.readline())):
            if not line:
                sys.exit("dptr serve did not start: " + " ".join(said))
            said.append(line)
        threading.Thread(target=lambda: said.extend(running.stderr or ()), daemon=True).start()
        parts = range(options.callers)
        callers = [Caller(found[0], options.seed, part, options.callers, options.pause) for part in parts]
        threads = [threading.Thread(target=each.run, daemon=True) for each in callers]
        for thread in threads:
            thread.start()
        try:
            for number, state, spent in watch(running, options.minutes):
                minutes = [each.minute for each in callers]
                for each in callers:
                    each.minute = Minute()
                yield {"minute": number, **vars(state), **summarize(minutes, spent), "said": said[:20]}
                said.clear()
        finally:
            for each in callers:
                each.stopped = True
            running.send_signal(signal.SIGINT)
            running.wait(600)


def summarize(minutes: list[Minute], spent: float) -> dict[str, Any]:
    """Of several callers."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for each in minutes:
        for kind, values in each.seconds.items():
            seconds[kind] += values
    answers = sum(map(len, seconds.values()))
    return {
        "answers": answers,
        "cpu_ms": round(1000 * spent / max(answers, 1), 1),
        "p50": {kind: quantile(values, 0.5) for kind, values in seconds.items()},
        "p99": {kind: quantile(values, 0.99) for kind, values in seconds.items()},
        "statuses": dict(sum((each.statuses for each in minutes), Counter())),
        "wrong": [text for each in minutes for text in each.wrong][:20],
    }


def soak_ocr(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A line a minute."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.pictures):
            suffix, content = draw_file(options.seed, number)
            drawn = random.Random(f"ocr {number}")
            data = break_file(drawn, content) if drawn.random() < 0.03 else content
            Path(folder, f"{number:07d}{suffix}").write_bytes(data)
        out = Path(folder, "out.jsonl")
        command = [sys.executable, "-m", "dptr", "ocr", folder, "--json", "-m", options.model[0]]
        with (
            open(out, "wb") as file,
            subprocess.Popen(
                [*command, *(["--isolate"] if options.isolate else [])], stdout=file, stderr=subprocess.DEVNULL
            ) as running,
        ):
            before = 0
            for number, state, spent in watch(running, options.minutes):
                pages = out.read_bytes().count(b"\n")
                read, before = pages - before, pages
                yield {"minute": number, **vars(state), "answers": read, "cpu_ms": round(1000 * spent / max(read, 1))}
            running.terminate()  # what was started in the background ignores Ctrl-C
            running.wait(600)


def watch(running: subprocess.Popen[Any], minutes: float) -> Iterator[tuple[int, State, float]]:
    """Each minute: its number, the state, the computing time since."""
    begun = time.monotonic()
    used = look(running.pid).seconds
    for number in range(1, max(1, round(minutes)) + 1):
        while time.monotonic() < begun + 60 * number:
            if running.poll() is not None:
                print(f"ended with code {running.returncode}", flush=True)
                return
            time.sleep(0.5)
        state = look(running.pid)
        yield number, state, state.seconds - used
        used = state.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("serve", "ocr"))
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--model", action="append", metavar="NAME", help="repeatable for serve; default: dptr-en-tiny")
    parser.add_argument("--seed", type=int, default=0, help="of the pictures")
    parser.add_argument("--callers", type=int, default=3, help="that ask at the same time (serve)")
    parser.add_argument("--pause", type=float, default=0, help="seconds between a caller's answer and its next request")
    parser.add_argument("--pictures", type=int, default=5000, help="in the folder (ocr)")
    parser.add_argument("--isolate", action="store_true", help="decode in another process (ocr)")
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    options.model = options.model or ["dptr-en-tiny"]
    wrong = False
    number = 0
    for line in soak_serve(options) if options.what == "serve" else soak_ocr(options):
        with open(options.log, "a") as file:
            print(json.dumps(line), file=file)
        wrong |= bool(line.get("wrong"))
        number = line["minute"]
    sys.exit(wrong or number < round(options.minutes))


if __name__ == "__main__":
    main()
