"""What all workers have in common: requests come in on standard input, one reply a line.

A worker is a program of its own, because the engines need packages that do not go together; only the standard library
is used here. Renderers draw words and are timed; a request is a line of JSON::

    {"first": 0, "words": ["Hello", ...], "folder": null}

Word i is drawn with ``first + i`` as its seed, and kept below ``folder`` where one is given. The reply
has ``cpu`` and ``wall`` (seconds that drawing alone took) and ``retries`` (how often an engine refused a word and was
asked again with another seed), and ``names``, the files below ``folder``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

ATTEMPTS = 200  # at one word, before it is an error
_APART = 0x9E3779B1  # how far apart the seeds of attempts lie: odd, so that no two attempts share one


Draw = Callable[[str, int], Any]  # word, seed -> a Pillow image, or None where the engine gives none


def serve(draw: Draw) -> None:
    """Draw the words of each request."""
    answer_each(lambda request: _answer(draw, request["first"], request["words"], request["folder"]))


def answer_each(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer requests until standard input ends. What the engine prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=replies, flush=True)


def _answer(draw: Draw, first: int, words: list[str], folder: str | None) -> dict[str, Any]:
    cpu = wall = 0.0
    retries, names = 0, []
    for number, word in enumerate(words, first):
        cpu_before, wall_before = time.process_time(), time.perf_counter()
        picture, tries = _insist(draw, word, number)
        cpu, wall = cpu + time.process_time() - cpu_before, wall + time.perf_counter() - wall_before
        retries += tries
        if folder is not None:
            names.append(f"images/{number // 1000:06d}/{number:09d}.png")
            path = os.path.join(folder, names[-1])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            picture.save(path, "PNG", compress_level=1)
    return {"cpu": cpu, "wall": wall, "retries": retries, "names": names}


def _insist(draw: Draw, word: str, number: int) -> tuple[Any, int]:
    for attempt in range(ATTEMPTS):
        picture = draw(word, (number + attempt * _APART) % 2**32)
        if picture is not None:
            return picture, attempt
    raise RuntimeError(f"{word!r}: no picture after {ATTEMPTS} attempts; leave the word out of the list")
