"""``dptr ocr`` on a PDF of many pages: seconds, processor seconds, memory, errors.

    python research/bench/pages.py --pages 200 [--model MODEL] [--formats json pdf] [--folder FOLDER]

Draws scanned pages, A4 at 200 dpi, 40 lines of frequent English words each, with the fonts that ship, and reads them by
the command. Prints a line for each format: wall and processor seconds, pages a second, peak memory, and the share of
words that are found in their order. At last the command is interrupted after its first page: how long it takes to end,
and how many pages it has written; half a page is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from wordfreq import top_n_list

from dptr.photo.outputs import write_pages
from dptr.photo.page import Page
from dptr.synth.fonts import EMBEDDED

WIDTH, HEIGHT = 1654, 2339  # pixels of an A4 page at 200 dpi
MARGIN = 150
LINES = 40
FONTS = "OpenSans", "CrimsonPro", "EBGaramond", "RobotoSlab", "FiraSans"
NOISE = 4.0  # gray levels


def draw_pages(count: int, seed: int = 0) -> Iterator[tuple[Image.Image, list[str]]]:
    """Pages and their words."""
    vocabulary = top_n_list("en", 5000)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        font = ImageFont.truetype(str(EMBEDDED / f"{FONTS[number % len(FONTS)]}.ttf"), 34)
        image = Image.new("L", (WIDTH, HEIGHT), 250)
        draw = ImageDraw.Draw(image)
        words: list[str] = []
        for row in range(LINES):
            line: list[str] = []
            while True:
                word = vocabulary[int(rng.integers(len(vocabulary)))]
                word = word.capitalize() if rng.random() < 0.1 else word
                word += "" if rng.random() < 0.9 else ",.;"[int(rng.integers(3))]
                if draw.textlength(" ".join([*line, word]), font=font) > WIDTH - 2 * MARGIN:
                    break
                line.append(word)
            draw.text((MARGIN, MARGIN + row * 51), " ".join(line), font=font, fill=30)
            words += line
        pixels = np.asarray(image, np.float32) + rng.normal(0, NOISE, (HEIGHT, WIDTH)).astype(np.float32)
        yield Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB"), words


def make_pdf(path: Path, count: int) -> list[list[str]]:
    """A PDF of ``count`` pages that are pictures; the words of each."""
    said: list[list[str]] = []

    def shown() -> Iterator[tuple[Page, Image.Image]]:
        for number, (picture, words) in enumerate(draw_pages(count), 1):
            said.append(words)
            picture.info["dpi"] = (200, 200)
            yield Page(str(path), number, *picture.size), picture

    write_pages(shown(), "pdf", path)
    return said


def read_words(path: Path) -> list[list[str]]:
    """The words of each page of a file that ``dptr ocr --format json`` wrote."""
    pages = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [[word["text"] for line in page["lines"] for word in line["words"]] for page in pages]


def share_found(found: list[list[str]], said: list[list[str]]) -> float:
    """Of the words that were drawn, the share that is found in their order."""
    matched = sum(
        block.size
        for one, other in zip(found, said, strict=True)
        for block in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    )
    return matched / sum(map(len, said))


def run(command: list[str]) -> tuple[float, float, float]:
    """Run a command; seconds, processor seconds of all its threads, and peak memory in MiB."""
    begin = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def interrupt(command: list[str]) -> tuple[float, int]:
    """Ctrl-C after the first page on standard output: seconds until the command ended, and pages written, all whole."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    first = process.stdout.readline()
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate()
    seconds = time.perf_counter() - begin
    if process.returncode != 130:
        raise SystemExit(f"exit code {process.returncode} after an interrupt, not 130")
    return seconds, len([json.loads(line) for line in (first + rest).splitlines()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--formats", nargs="+", default=["json", "pdf"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.folder or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        source = place / "pages.pdf"
        said = make_pdf(source, options.pages)
        print("| format | wall s | CPU s | pages a second | peak MiB | words found |\n|---|---:|---:|---:|---:|---:|")
        for style in options.formats:
            out = place / f"read.{style}"
            command = [sys.executable, "-m", "dptr", "ocr", str(source), "--model", options.model, "-o", str(out)]
            wall, processor, memory = run(command)
            share = f"{share_found(read_words(out), said):.1%}" if style == "json" else ""
            rate = options.pages / wall
            print(f"| {style} | {wall:.0f} | {processor:.0f} | {rate:.2f} | {memory:.0f} | {share} |", flush=True)
        command = [sys.executable, "-m", "dptr", "ocr", str(source), "--model", options.model, "--format", "json"]
        seconds, pages = interrupt(command)
        print(f"Ctrl-C after the first page: ended within {seconds:.1f} s, {pages} whole pages written")


if __name__ == "__main__":
    main()
