"""A process that mutates and runs cases of one kind, by Atheris (libFuzzer), until it is told to end or dies.

``python -m fuzz.worker KIND FOLDER [OPTIONS OF LIBFUZZER]``; ``fuzz.run`` starts it.
"""

from __future__ import annotations

import logging
import mmap
import random
import sys
import tempfile
from pathlib import Path

import atheris


def main() -> None:
    kind, place, *options = sys.argv[1:]
    folder = Path(place)
    with atheris.instrument_imports(include=["dptr", "PIL", "tomllib", "json"]):
        from fuzz.blind import LONGEST, write_found
        from fuzz.repair import REPAIRS
        from fuzz.targets import TARGETS
        from fuzz.watch import limit_memory, watch

        run = TARGETS[kind](Path(tempfile.mkdtemp(dir=folder, prefix="work-")))
    logging.disable(logging.WARNING)
    repair = REPAIRS.get(kind)
    (folder / "found").mkdir(exist_ok=True)
    with open(folder / "count", "r+b") as file:
        count = mmap.mmap(file.fileno(), 8)
    done = int.from_bytes(count[:8], "little")

    def one(data: bytes) -> None:
        nonlocal done
        done += 1
        count[:8] = done.to_bytes(8, "little")
        found = watch(run, data)
        if found is not None:
            write_found(folder / "found", found, data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        mutated = bytes(atheris.Mutate(data, most))
        return repair(mutated)[:most] if repair and random.Random(seed).random() < 0.75 else mutated

    arguments = [sys.argv[0], str(folder / "corpus"), f"-max_len={LONGEST}", *options]
    if repair:
        atheris.Setup(arguments, one, custom_mutator=mutate)
    else:
        atheris.Setup(arguments, one)
    for data in sorted((folder / "corpus").glob("seed-*")):
        one(data.read_bytes())
    limit_memory()
    atheris.Fuzz()


if __name__ == "__main__":
    main()
