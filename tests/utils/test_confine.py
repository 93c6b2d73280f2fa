"""A decoder that was taken over can read no file of its user, write none, start nothing, and reach nobody."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import helpers_isolation as bad
import pytest

from dptr.utils.confine import refusals
from dptr.utils.isolation import Isolation
from dptr.utils.seccomp import MACHINES, NUMBERS, Refusal, compile_filter

PERMITTED = "compute in a thread", "read a package", "signal itself"
BY_FILES = (
    "read a file", "list a folder", "read passwords", "read the environment of the parent",
    "read the memory of the parent",
)  # fmt: skip


@pytest.fixture(scope="module")
def apart() -> Iterator[Isolation]:
    made = Isolation()
    yield made
    made.close()


@pytest.fixture(scope="module")
def in_force() -> set[str]:
    """What this kernel can do."""
    code = "from dptr.utils.confine import confine; print(*confine())"
    return {*subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()}


def test_what_the_kernel_says_is_in_force_is(in_force: set[str]) -> None:
    code = "from dptr.utils.confine import confine; confine(); print(open('/proc/cpuinfo').read(0), end='')\n"
    code += "import os; print(os.path.exists('/etc/hostname'))\ntry: open('/etc/passwd'); print('read')\n"
    code += "except OSError: print('refused')\ntry: os.fork(); os._exit(0)\nexcept OSError: print('refused')\n"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()[1:]
    assert said == [
        *(["refused"] if "landlock" in in_force else ["read"]),
        *(["refused"] if "seccomp" in in_force else []),
    ]


@pytest.mark.parametrize("what", bad.ATTEMPTS)
def test_what_decoding_does_not_need_is_refused(
    what: str, apart: Isolation, tmp_path: Path, in_force: set[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a secret")
    needed = {"landlock"} if what in BY_FILES else {"seccomp"} if what not in PERMITTED else set()
    if what in ("become a program", "signal the parent") and "seccomp" not in in_force:
        return  # it would be done
    answer, _ = apart.call(bad.attempt, b"", "x", what=what, path=str(path))
    assert (answer in ("EPERM", "EACCES")) == bool(needed & in_force), answer
    assert path.read_bytes() == b"a secret" and os.listdir(tmp_path) == ["file"]


def run_filter(program: list[tuple[int, int, int, int]], machine: int, number: int, *arguments: int) -> int:
    """What a filter answers to a system call."""
    seen = {0: number, 4: machine, **{16 + 8 * index: each for index, each in enumerate(arguments)}}
    held = place = 0
    while True:
        code, yes, no, value = program[place]
        place += 1
        if code == 0x20:
            held = seen.get(value, 0)
        elif code == 0x06:
            return value
        else:
            is_so = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[code]
            place += yes if is_so else no


ALLOWED = 0x7FFF0000


def failed(number: int) -> int:
    return 0x00050000 | number


@pytest.mark.parametrize("machine", MACHINES)
def test_filters_do_what_they_say(machine: str) -> None:
    name, _, column = MACHINES[machine]
    program = compile_filter(refusals(), machine)

    def ask(call: str, *arguments: int) -> int:
        number = NUMBERS[call][column]
        return ALLOWED if number is None else run_filter(program, name, number, *arguments)

    assert len(program) < 4096
    assert ask("read", 0) == ask("write", 1) == ask("pread64") == ALLOWED
    for call in ("socket", "connect", "execve", "ptrace", "unlinkat", "io_uring_setup"):
        assert ask(call) == failed(errno.EPERM)
    assert ask("openat", 3, 0, os.O_RDONLY | os.O_CLOEXEC) == ALLOWED
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_RDONLY | os.O_TRUNC):
        assert ask("openat", 3, 0, flags) == failed(errno.EACCES)
    assert ask("clone", 0x3D0F00) == ALLOWED and ask("clone", 17) == failed(errno.EPERM)
    assert ask("clone3") == failed(errno.ENOSYS)
    assert ask("kill", os.getpid(), 11) == ALLOWED and ask("kill", 1, 9) == failed(errno.EPERM)
    other = next(each for each, _, _ in MACHINES.values() if each != name)
    assert run_filter(program, other, 0) == 0x80000000  # another machine's numbers


def test_numbers_above_a_limit_and_pretended_success() -> None:
    name, _, column = MACHINES["x86_64"]
    program = compile_filter([Refusal("write", errno.EIO, 2, above=100), Refusal("fsync", 0)], "x86_64")
    number, sync = NUMBERS["write"][column], NUMBERS["fsync"][column]
    assert number is not None and sync is not None
    answers = [run_filter(program, name, number, 1, 0, size) for size in (0, 100, 101, 1 << 31)]
    assert answers == [ALLOWED, ALLOWED, failed(errno.EIO), failed(errno.EIO)]
    assert run_filter(program, name, sync) == failed(0)
    assert run_filter(program, name, 0x40000000 | sync) == failed(errno.ENOSYS)  # x32


def test_numbers_are_those_of_this_machine() -> None:
    """Of three calls that do no harm: they fail with the number that was asked for."""
    if platform.machine() not in MACHINES or sys.platform != "linux":
        return
    code = (
        "import os\nfrom dptr.utils.seccomp import Refusal, install\n"
        "if not install([Refusal('fsync', 5), Refusal('mkdirat', 28), Refusal('mkdir', 28), Refusal('kill', 3)]):\n"
        "    print('28 5 3')\n    raise SystemExit\n"
        "for call in (lambda: os.mkdir('/tmp/x/y/z'), lambda: os.fsync(0), lambda: os.kill(1, 0)):\n"
        "    try:\n        call()\n    except OSError as error:\n        print(error.errno)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.split() == ["28", "5", "3"], said.stderr
