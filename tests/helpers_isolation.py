"""Functions for another process: what decoders that are broken, slow, or taken over might do."""

from __future__ import annotations

import os
import signal
import sys
import time
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
    with open(path, "wb", buffering=0) as file:
        try:
            return file.write(b"x"), None
        except OSError as error:
            return error.strerror, None


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
