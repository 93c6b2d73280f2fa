"""Functions for another process: what decoders that are broken, slow, or taken over might do."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from dptr.utils.errors import TooLarge


def describe(content: bytes, name: str, **settings: Any) -> tuple[Any, Image.Image | None]:
    """Its process, the length of the content, and all else that it got."""
    return [os.getpid(), len(content), name, settings, sorted(os.environ)], None


def die(content: bytes, name: str, **settings: Any) -> tuple[Any, Image.Image | None]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return None, None


def die_of_red(content: bytes, name: str, **settings: Any) -> tuple[Any, Image.Image | None]:
    """A decoder that one picture kills; the others it opens."""
    from dptr.utils.isolation import decode

    if b"red" in name.encode():
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode(content, name, **settings)


def end(content: bytes, name: str) -> tuple[Any, Image.Image | None]:
    os._exit(3)


def hang(content: bytes, name: str) -> tuple[Any, Image.Image | None]:
    while True:
        time.sleep(1)


def allocate(content: bytes, name: str, count: int) -> tuple[Any, Image.Image | None]:
    return len(bytearray(count)), None


def write(content: bytes, name: str, path: str) -> tuple[Any, Image.Image | None]:
    """Whether a byte could be written to a file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with open(path, "wb", buffering=0) as file:
            return file.write(b"x"), None
    except OSError as error:
        return error.strerror, None


def attempt(content: bytes, name: str, what: str, path: str) -> tuple[Any, Image.Image | None]:
    """The name of the error that something ends with; empty = it was done."""
    try:
        ATTEMPTS[what](path)
    except OSError as error:
        return errno.errorcode[error.errno or 0], None
    return "", None


def compute_in_a_thread(path: str) -> None:
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    assert done


def fork(path: str) -> None:
    if not os.fork():
        os._exit(0)


def trace(path: str) -> None:
    if ctypes.CDLL(None, use_errno=True).ptrace(16, os.getppid(), 0, 0):  # PTRACE_ATTACH
        raise OSError(ctypes.get_errno(), "")


ATTEMPTS: dict[str, Callable[[str], object]] = {
    "read a file": lambda path: Path(path).read_bytes(),
    "list a folder": lambda path: os.listdir(os.path.dirname(path)),
    "read passwords": lambda path: Path("/etc/passwd").read_bytes(),
    "read the environment of the parent": lambda path: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "read the memory of the parent": lambda path: os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY),
    "write a file": lambda path: Path(path).write_bytes(b""),
    "delete a file": os.unlink,
    "rename a file": lambda path: os.rename(path, f"{path}-other"),
    "make a link": lambda path: os.symlink(path, f"{path}-link"),
    "make a folder": lambda path: os.mkdir(f"{path}-folder"),
    "change rights": lambda path: os.chmod(path, 0o777),
    "connect": lambda path: socket.create_connection(("127.0.0.1", 9)),
    "connect to a service of the machine": lambda path: socket.socket(socket.AF_UNIX),
    "start a program": lambda path: os.posix_spawn("/bin/true", ["true"], {}),
    "become a program": lambda path: os.execv("/bin/true", ["true"]),
    "fork": fork,
    "signal the parent": lambda path: os.kill(os.getppid(), signal.SIGCONT),
    "trace the parent": trace,
    "compute in a thread": compute_in_a_thread,
    "read a package": lambda path: Path(Image.__file__).read_bytes(),
    "signal itself": lambda path: os.kill(os.getpid(), 0),
}


def talk(content: bytes, name: str) -> tuple[Any, Image.Image | None]:
    """A library that prints."""
    print("{}", flush=True)
    os.write(1, b"\nnoise\n")
    sys.stderr.write("noise\n")
    return "heard", Image.new("RGB", (2, 1), (1, 2, 3))


def refuse(content: bytes, name: str) -> tuple[Any, Image.Image | None]:
    raise TooLarge(f"{name}: too large")


def forge(content: bytes, name: str) -> tuple[Any, Image.Image | None]:
    """A decoder that was taken over writes an answer of its own, the content, and ends."""
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, content)
        except OSError:
            continue
    os._exit(0)
