"""Corrections survive a kill in their midst and a full disk: what was answered with 200 is there."""

from __future__ import annotations

import random
import re
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers_kill import MANY
from helpers_label import SIZE, proposal, save_photo, upright
from helpers_signal import start

from dptr.label.store import Store

pytestmark = pytest.mark.slow
WORDS = 400
BALLAST = 40_000  # bytes that are left on the full disk: a few corrections


@contextmanager
def served(folder: Path) -> Iterator[tuple[Any, str]]:
    """The process of ``dptr label``, and its address."""
    command = [sys.executable, "-m", "dptr", "label", "-o", str(folder), "--port", "0", "-m", "dptr-en-tiny"]
    with start(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", running.stderr.readline())
        assert found
        yield running, found[0]
        running.kill()


def make(folder: Path, photo: Path, words: int = WORDS) -> None:
    store = Store(folder)
    store.add(save_photo(photo), 1, SIZE, [proposal(str(number)) for number in range(words)])
    store.close()


def correct(client: httpx.Client, item: int) -> int:
    change = {"version": 1, "text": f"label {item}", "state": "labeled"}
    return client.post(f"/v1/label/items/{item}", json=change).status_code


def check(folder: Path, saved: set[int], drawn: set[int], late: int = 0, words: int = WORDS) -> None:
    """What was answered with 200 is there, whole; and no more than ``late`` others are."""
    store = Store(folder)
    for item in saved:
        assert (store.get(item).text, store.get(item).state) == (f"label {item}", "labeled")
    assert {item.id for item in store.some(sorted(drawn))} == drawn
    counts = store.counts()
    assert len(saved) <= counts["labeled"] <= len(saved) + late
    assert sum(counts.values()) == len(store.words_of(1)) >= words + len(drawn)
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    store.close()


@pytest.mark.timeout(150 * MANY)
@pytest.mark.parametrize("kills", [3, MANY])
def test_a_kill_in_the_midst_of_corrections_loses_none(kills: int, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    words = 100 * kills
    make(folder, tmp_path / "a.png", words)
    moments = random.Random(f"label {kills}")
    saved: set[int] = set()
    drawn: set[int] = set()
    for _ in range(kills):
        before = len(saved)
        with served(folder) as (running, address):

            def write(part: int, address: str = address) -> None:
                with httpx.Client(base_url=address) as client:
                    for item in range(1 + part, words + 1, 3):
                        if item not in saved and correct(client, item) == 200:
                            saved.add(item)

            def draw(address: str = address) -> None:
                outline = upright(20, 20, 90, 60)
                with httpx.Client(base_url=address, timeout=30) as client:
                    while True:
                        drawn.add(
                            client.post("/v1/label/photos/1/words", json={"outline": outline}).json()["item"]["id"]
                        )

            def until_the_end(work: Any, *arguments: Any) -> None:
                with suppress(httpx.TransportError):  # it was killed
                    work(*arguments)

            threads = [threading.Thread(target=until_the_end, args=(write, part)) for part in range(3)]
            threads.append(threading.Thread(target=until_the_end, args=(draw,)))
            for thread in threads:
                thread.start()
            least = len(drawn)
            while len(saved) < before + 5 or len(drawn) <= least:
                threads[0].join(0.005)
            time.sleep(moments.uniform(0, 0.3))
            running.kill()
            for thread in threads:
                thread.join(60)
        assert before + 5 <= len(saved) < words
    check(folder, saved, drawn, late=3 * kills, words=words)  # of each kill, what three were answered too late


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no disk can be mounted here; only root may")
    yield
    subprocess.run(["umount", "-l", str(folder)], check=True)


def label_until_full(client: httpx.Client, saved: set[int]) -> dict[str, str]:
    """Correct words until one cannot be saved, which is told; nothing else is said."""
    for item in range(1, WORDS + 1):
        if item in saved:
            continue
        answer = client.post(
            f"/v1/label/items/{item}", json={"version": 1, "text": f"label {item}", "state": "labeled"}
        )
        if answer.status_code != 200:
            assert answer.status_code == 507
            return dict(answer.json())
        saved.add(item)
    raise AssertionError("the disk did not become full")


def go_on(client: httpx.Client, saved: set[int]) -> None:
    for item in range(1, WORDS + 1):
        if item not in saved:
            assert correct(client, item) == 200
            saved.add(item)


def test_a_disk_that_is_full_while_words_are_corrected(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk):
        make(disk / "set", tmp_path / "a.png")
        saved: set[int] = set()
        with served(disk / "set") as (_, address), httpx.Client(base_url=address) as client:
            assert correct(client, 1) == 200
            saved.add(1)
            free = int(subprocess.check_output(["df", "--output=avail", "-B1", str(disk)]).split()[-1])
            (disk / "ballast").write_bytes(bytes(free - BALLAST))
            told = label_until_full(client, saved)
            assert "full" in told["error"] and "what was saved before is safe" in told["error"]
            refused = client.post("/v1/label/photos/1/words", json={"outline": upright(20, 20, 90, 60)})
            assert refused.status_code == 507
            assert client.get("/v1/label").json()["counts"]["labeled"] == len(saved) >= 2
            (disk / "ballast").unlink()
            go_on(client, saved)  # without a restart
        check(disk / "set", saved, set())


def test_files_that_may_not_grow_while_words_are_corrected(tmp_path: Path) -> None:
    """The same for whoever may not mount a disk, and with another error of the system."""
    make(tmp_path / "set", tmp_path / "a.png")
    saved: set[int] = set()
    with served(tmp_path / "set") as (running, address), httpx.Client(base_url=address) as client:
        assert correct(client, 1) == 200
        saved.add(1)
        log = tmp_path / "set" / "label.db-wal"
        _, hard = resource.prlimit(running.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (log.stat().st_size + BALLAST, hard))
        told = label_until_full(client, saved)
        assert "check the folder and its disk" in told["error"] or "free space" in told["error"]
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert client.get("/v1/label").json()["counts"]["labeled"] == len(saved) >= 2
        go_on(client, saved)
    check(tmp_path / "set", saved, set())
