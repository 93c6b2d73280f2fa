"""Arenas of the C library, counted in the map of a process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading
from dptr.utils.arenas import limit_arenas

if sys.argv[1] != "0":
    assert limit_arenas(int(sys.argv[1]))
ready, done = threading.Barrier(13), threading.Event()

def allocate():
    kept = [bytes(5000) for _ in range(20)]
    ready.wait()
    done.wait()

for _ in range(12):
    threading.Thread(target=allocate).start()
ready.wait()
starts = [int(line.partition("-")[0], 16) for line in open("/proc/self/maps")]
done.set()
print(sum(start % (64 << 20) == 0 for start in starts))
"""


def count_arenas(most: int) -> int:
    """Of 12 threads that allocate, without the arena of the main thread; ``most`` of 0 = no limit is set."""
    return int(subprocess.check_output([sys.executable, "-c", SCRIPT, str(most)]))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or sys.platform != "linux", reason="no arenas of glibc")
def test_threads_share_arenas() -> None:
    assert count_arenas(0) > 3
    assert count_arenas(2) <= 2
