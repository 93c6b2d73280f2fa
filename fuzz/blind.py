"""A process that changes cases of one kind at random and runs them, until its time or its number is over or it dies.

It measures no coverage, and so runs about five times as many cases a second as ``fuzz.worker``, whose corpus it starts
from; it needs no Atheris. A case is a pure function of the corpus, the kind, the seed, and its number.

``python -m fuzz.blind KIND FOLDER SEED SECONDS CASES``; ``fuzz.run --blind`` starts it.
"""

from __future__ import annotations

import logging
import mmap
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzz.repair import REPAIRS
from fuzz.watch import Finding, limit_memory, watch

LONGEST = 1 << 16  # bytes of a case
STUCK = 60  # seconds by the clock after which a case is taken to hang for ever: other work may run beside
MOST_CHANGES = 8

_NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
_PIECES = (
    b"", b"\0", b"\n", b"\r\n", b"\t", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"null",
    b"true", b"-1", b"0", b"1e999", b"NaN", b"9" * 20, b"9" * 400, b"9" * 5000, b"[" * 1000, b'{"a":' * 1000, b"../",
    b"/dev/zero", b"%s%n", b"\x1b[2J", "\u202e".encode(), "e\u0301".encode(), b"a" * 5000, b"\\u0000", b'"', b"'",
    b"{1,99999}", b"(.*)*", b"\xff" * 16,
)  # fmt: skip


def main() -> None:
    kind, place, seed, seconds, most = sys.argv[1:]
    folder = Path(place)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    from fuzz.targets import TARGETS

    run = TARGETS[kind](Path(tempfile.mkdtemp(dir=folder, prefix="work-")))
    corpus = [path.read_bytes()[:LONGEST] for path in sorted((folder / "corpus").iterdir())]
    with open(folder / "count", "r+b") as file:
        count = mmap.mmap(file.fileno(), 8)
    (folder / "case").write_bytes(bytes(8 + LONGEST))
    with open(folder / "case", "r+b") as file:
        shown = mmap.mmap(file.fileno(), 8 + LONGEST)
    done = int.from_bytes(count[:8], "little")
    for data in corpus[:50]:  # what is loaded when it is needed is no memory of a case
        watch(run, data)
    limit_memory()
    silence()
    until = time.monotonic() + float(seconds)
    while done < int(most) and time.monotonic() < until:
        data = change(corpus, f"{kind} {seed} {done}", REPAIRS.get(kind))
        shown[: 8 + len(data)] = len(data).to_bytes(8, "little") + data
        done += 1
        count[:8] = done.to_bytes(8, "little")
        signal.setitimer(signal.ITIMER_REAL, STUCK)  # ends this process
        found = watch(run, data)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if found is not None:
            write_found(folder / "found", found, data)


def silence() -> None:
    """Decoders write to the standard error output of a million damaged files."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def write_found(folder: Path, found: Finding, data: bytes) -> None:
    """Keep a case, once a fault."""
    if not (folder / found.name).exists():
        (folder / found.name).write_bytes(data)
        (folder / f"{found.name}.txt").write_text(f"{found.place}\n{found.text}\n")


def read_case(path: Path) -> bytes:
    """The case that a process had begun when it ended."""
    data = path.read_bytes()
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def change(corpus: Sequence[bytes], name: str, repair: Callable[[bytes], bytes] | None = None) -> bytes:
    """A changed case of a corpus.

    Args:
        name: the same name, the same case.
        repair: makes three of four whole again where a checksum would end their reading at once.
    """
    drawn = random.Random(name)
    case = bytearray(drawn.choice(corpus))
    for _ in range(drawn.randint(1, MOST_CHANGES)):
        _change_once(case, corpus, drawn)
    data = bytes(case[:LONGEST])
    return repair(data)[:LONGEST] if repair and drawn.random() < 0.75 else data


def _change_once(case: bytearray, corpus: Sequence[bytes], drawn: random.Random) -> None:
    case[:] = case or bytearray(8)
    place = drawn.randrange(len(case))
    length = min(drawn.choice((1, 2, 4, 16, 64, 1024)), len(case))
    match drawn.randrange(9):
        case 0:
            case[place] ^= 1 << drawn.randrange(8)
        case 1:
            case[place] = drawn.randrange(256)
        case 2:
            size = drawn.choice((1, 2, 4, 8))
            number = drawn.choice(_NUMBERS) % (1 << 8 * size)
            case[place : place + size] = number.to_bytes(size, drawn.choice(("little", "big")))
        case 3:
            case[place : place + drawn.choice((0, 1, length))] = drawn.choice(_PIECES)
        case 4:
            del case[place : place + length]
        case 5:
            start = drawn.randrange(len(case))
            case[place:place] = case[start : start + length] * drawn.choice((1, 1, 2, 50))
        case 6:
            start = drawn.randrange(len(case))
            case[place : place + length] = case[start : start + length]
        case 7:
            other = drawn.choice(corpus) or b"\0"
            start = drawn.randrange(len(other))
            case[place : place + drawn.choice((0, length))] = other[start : start + 4 * length]
        case 8:
            del case[max(place, 8) :]


if __name__ == "__main__":
    main()
