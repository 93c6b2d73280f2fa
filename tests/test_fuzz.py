"""What ``make fuzz`` runs: its seeds and what it once found pass, and the harness sees each fault that is planted."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dptr.utils.errors import UserError
from dptr.utils.images import FORMATS, open_image
from fuzz import blind
from fuzz.repair import repair_png
from fuzz.run import REGRESSIONS, Tally, count, keep, read_runs, total
from fuzz.run import fuzz as fuzz_kind
from fuzz.seeds import SEEDS, draw, encode
from fuzz.targets import TARGETS
from fuzz.watch import MEMORY, Finding, limit_memory, watch

CHANGED = {"checkpoint": 4, "request": 12, "metadata": 20}  # cases of a kind; the others get 60

BRIEF = 0.2  # seconds that a planted fault may take


@cache
def seeds(kind: str) -> list[bytes]:
    return SEEDS[kind]()


@pytest.mark.parametrize("kind", SEEDS)
def test_seeds_and_what_was_found_pass(kind: str, tmp_path: Path) -> None:
    run = TARGETS[kind](tmp_path)
    cases = [*seeds(kind), *(path.read_bytes() for path in sorted((REGRESSIONS / kind).glob("*")))]
    assert [found for case in cases if (found := watch(run, case))] == []


@pytest.mark.parametrize("kind", SEEDS)
def test_changed_bytes_pass(kind: str, tmp_path: Path) -> None:
    """A few cases without a fuzzer: each is a pure function of its kind and its number."""
    run = TARGETS[kind](tmp_path)
    for index in range(CHANGED.get(kind, 60)):
        case = change(kind, index)
        assert (found := watch(run, case)) is None, (index, found)


def change(kind: str, index: int) -> bytes:
    drawn = random.Random(f"{kind} {index}")
    case = bytearray(seeds(kind)[index % len(seeds(kind))])
    for _ in range(drawn.randint(1, 8)):
        case = case or bytearray(8)
        place = drawn.randrange(len(case))
        match drawn.randrange(4):
            case 0:
                case[place] ^= 1 << drawn.randrange(8)
            case 1:
                case[place:place] = bytes([case[place]]) * drawn.choice([1, 7, 4096])
            case 2:
                case[place : place + drawn.randint(1, 16)] = drawn.choice(
                    [b"", b"\xff\xff\xff\xff", b"999999999", b"\0"]
                )
            case 3:
                case = case[: max(place, 8)]
    return repair_png(bytes(case)) if kind == "picture" else bytes(case)


def test_every_kind_has_seeds_that_are_read(tmp_path: Path) -> None:
    """A target that refuses everything would find nothing."""
    for kind in SEEDS:
        folder = tmp_path / kind
        folder.mkdir()
        run = TARGETS[kind](folder)
        run(seeds(kind)[0])
    formats = {open_format(data) for data in seeds("picture")}
    assert formats == {*FORMATS}


def open_format(data: bytes) -> str:
    from io import BytesIO

    from PIL import Image

    return str(Image.open(BytesIO(data), formats=FORMATS).format)


def raise_error(data: bytes) -> None:
    raise KeyError("planted")


def refuse(data: bytes) -> None:
    raise UserError("planted: a line; and a\nline break")


def spin(data: bytes) -> None:
    import time

    end = time.process_time() + 2 * BRIEF
    while time.process_time() < end:
        pass


def allocate(data: bytes) -> None:
    try:
        np.ones(MEMORY, np.uint8)
    except MemoryError as error:  # as decoders' errors are explained
        raise UserError("planted: damaged") from error


@pytest.mark.parametrize(
    ("run", "kind"), [(raise_error, "traceback"), (spin, "hang"), (allocate, "memory"), (refuse, None)]
)
def test_planted_faults_are_seen(run: Callable[[bytes], None], kind: str | None) -> None:
    with multiprocessing.get_context("spawn").Pool(1, limit_memory) as pool:
        found = pool.apply(watch, (run, b"", BRIEF))
    assert (found and found.kind) == kind
    if kind == "traceback":
        assert found is not None and "KeyError" in found.place and "planted" in found.text


def test_what_is_found_is_counted_and_kept(tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    (tmp_path / "count").write_bytes((7).to_bytes(8, "little"))
    for finding in (Finding("hang", "", "2.5 s"), Finding("traceback", "KeyError a", ""), Finding("death", "b", "")):
        (tmp_path / "found" / finding.name).write_bytes(b"case")
        (tmp_path / "found" / f"{finding.name}.txt").write_text(finding.text)
    tally = count("picture", tmp_path, 3)
    assert (tally.cases, tally.tracebacks, tally.hangs, tally.memory, tally.deaths) == (7, 1, 1, 0, 1)
    keep(tmp_path / "found", tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_blind_changes_are_pure_functions_of_their_name() -> None:
    corpus = seeds("labels")
    cases = [blind.change(corpus, f"labels 1 {number}") for number in range(300)]
    assert cases == [blind.change(corpus, f"labels 1 {number}") for number in range(300)]
    assert len({*cases}) > 250 and max(map(len, cases)) <= blind.LONGEST
    repaired = [blind.change(seeds("picture")[:1], f"{number}", repair_png) for number in range(60)]
    assert sum(repair_png(each) == each for each in repaired) > 30


@pytest.mark.parametrize(("code", "kind"), [(-signal.SIGSEGV, "deaths"), (-signal.SIGALRM, "hangs")])
def test_a_case_that_ends_its_process_is_found(
    code: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the worker that follows goes on behind it."""
    began: list[int] = []

    def end(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        folder = Path(command[4])
        began.append(int.from_bytes((folder / "count").read_bytes(), "little"))
        (folder / "count").write_bytes((began[-1] + 5).to_bytes(8, "little"))
        (folder / "case").write_bytes((3).to_bytes(8, "little") + b"bad" + bytes(9))
        return subprocess.CompletedProcess(command, code if len(began) == 1 else 0, b"", b"")

    monkeypatch.setattr(subprocess, "run", end)
    tally = fuzz_kind("charset", tmp_path, 60, 7, blind=True)
    assert (tally.cases, getattr(tally, kind), tally.seed, began) == (10, 1, 7, [0, 5])
    assert b"bad" in [path.read_bytes() for path in (tmp_path / "found").iterdir()]


def test_runs_add_up(tmp_path: Path) -> None:
    runs = [Tally("pdf", 10, 2, 1), Tally("pdf", 5, 1, blind=True), Tally("lmdb", 7, 1)]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(asdict(each)) + "\n" for each in runs))
    assert read_runs(tmp_path / "runs.jsonl") == runs and read_runs(tmp_path / "none") == []
    assert [(each.kind, each.cases, each.tracebacks) for each in total(runs)] == [("pdf", 15, 1), ("lmdb", 7, 0)]


def test_a_repaired_png_is_read() -> None:
    whole = encode(draw(), "PNG")
    damaged = bytearray(whole)
    damaged[whole.index(b"IHDR") + 7] ^= 1  # another width
    with pytest.raises(UserError):
        open_image(bytes(damaged))
    assert repair_png(whole) == whole
    assert repair_png(bytes(damaged)) != bytes(damaged)


def test_messages_are_one_line_whatever_they_name() -> None:
    assert str(UserError("a\nb\x1b[2J\u202e")) == "a\\nb\\x1b[2J\\u202e"
