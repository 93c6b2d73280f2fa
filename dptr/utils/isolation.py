"""Decoding in a process of its own: what decoders of pictures and PDFs do to it, it alone bears.

Decoders are C code, and files come from anywhere. ``Isolation`` starts a process, gives it limits on memory and time,
takes from it what decoding does not need (``dptr.utils.confine``), and sends it the bytes of a file; numbers and pixels
come back. If the process dies, that file has an error, and the next file gets a new process. What comes back is JSON
and plain pixels, checked, and never unpickled.
"""

from __future__ import annotations

import io
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from PIL import Image

from dptr.utils.confine import confine
from dptr.utils.errors import TooLarge, UnknownKind, UserError
from dptr.utils.images import FRAMES, LONGEST_SIDE, Picture, check_pixels, open_header, open_image, read_encoded

MEMORY = 2 << 30  # bytes that a process may allocate beside what it begins with; the file counts
SECONDS = 60.0  # that one call may take

Answer = tuple[Any, "Image.Image | None"]
"""What an isolated function returns: a value that JSON holds, and an RGB picture."""

_ERRORS: dict[str, type[UserError]] = {each.__name__: each for each in (UserError, UnknownKind, TooLarge)}
_LONGEST_HEAD = 64 << 20  # bytes of the JSON of an answer: the text of a page
_MOST_PIXELS = 1 << 28  # of a picture of an answer
_OPEN_FILES = 64
_KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SYSTEMROOT")  # of the environment: secrets stay here
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # ``confine`` reaches no threads that were before


class Call(Protocol):
    """Calls ``function(content, name, **settings)``: here (``call_here``), or in another process."""

    def __call__(self, function: Callable[..., Answer], content: bytes, name: str, **settings: Any) -> Answer: ...


def call_here(function: Callable[..., Answer], content: bytes, name: str, **settings: Any) -> Answer:
    """Call a function in this process, without limits."""
    return function(content, name, **settings)


class Isolation:
    """Processes that decode files, within limits.

    It may be used by several threads, and after a fork, which gets processes of its own.

    Args:
        memory: bytes that one may allocate beside what it begins with.
        seconds: that one call may take.
        workers: processes at most; each is started when it is needed.
    """

    def __init__(self, memory: int = MEMORY, seconds: float = SECONDS, workers: int = 1) -> None:
        self._memory, self._seconds, self._workers = memory, seconds, workers
        self._reset()

    def call(self, function: Callable[..., Answer], content: bytes, name: str, **settings: Any) -> Answer:
        """Call a function of a module in another process.

        Args:
            function: takes ``content``, ``name``, and ``settings``.
            content: of a file. If it is the object of the last call, it is not sent again.
            name: of the file, for errors.
            settings: what JSON holds.

        Raises:
            UserError: one that ``function`` raises; or the process died, or took too long or too much memory.
        """
        if self._owner != os.getpid():
            self._reset()
        process = self._idle.get()
        try:
            if process is None:
                process = _Process(self._memory)
            return process.ask(function, content, name, settings, self._seconds)
        except _Ended as end:
            process = None
            raise UserError(f"{name}: {end}; save it anew as PNG, or leave it out") from end
        except UserError:
            raise
        except BaseException:  # such as Ctrl-C: its answer is still to come
            if process is not None:
                process.close()
            process = None
            raise
        finally:
            self._idle.put(process)

    def open_image(self, source: Picture, name: str = "") -> Image.Image:
        """As ``dptr.utils.images.open_image``; arrays and pictures that are open already are taken here."""
        if isinstance(source, str | os.PathLike):
            content, name = read_encoded(source), str(source)
        elif isinstance(source, bytes | bytearray | memoryview):
            content = bytes(source)
            name = name or f"image of {len(content)} bytes"
        else:
            if isinstance(source, np.ndarray | Image.Image) or not hasattr(source, "read"):
                return open_image(source, name)
            name = str(getattr(source, "name", "") or f"file of type {type(source).__name__}")
            try:
                content = source.read()
            except (OSError, ValueError) as error:
                raise UserError(f"{name}: {error}; open it anew, as binary ('rb')") from error
            if not isinstance(content, bytes):
                raise UserError(f"{name}: reads {type(content).__name__}, not bytes; open it as binary ('rb')")
        _, image = self.call(decode, content, name)
        if image is None:
            raise odd_answer(name)
        return image

    def close(self) -> None:
        """End the processes that are idle."""
        with suppress(queue.Empty):
            while True:
                process = self._idle.get_nowait()
                if process is not None:
                    process.close()
        self._reset()

    def _reset(self) -> None:
        self._owner = os.getpid()
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(self._workers):
            self._idle.put(None)


def whole_numbers(value: Any, name: str) -> list[int]:
    """A list of whole numbers above 0 that came from another process.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, list) or not all(type(each) is int and each > 0 for each in value):
        raise odd_answer(name)
    return value


def odd_answer(name: str) -> UserError:
    """What is said of a file whose decoder answers with nonsense."""
    return UserError(f"{name}: its decoder went wrong; save it anew as PNG, or leave it out")


def decode(content: bytes, name: str, most_pixels: int | None = None) -> Answer:
    """Open a picture; its size is checked before its pixels are decoded.

    Raises:
        UserError: see ``dptr.utils.images.open_image``; or it has more than ``most_pixels``.
    """
    if most_pixels is not None:
        with open_header(io.BytesIO(content), name) as image:
            check_pixels(*image.size, most_pixels, name)
    return None, open_image(content, name)


class _Ended(Exception):
    """A process is no more; the message says why."""


class _Process:
    """One process, which answers one question at a time."""

    def __init__(self, memory: int) -> None:
        paths = [*filter(None, sys.path), str(Path(__file__).parents[2])]
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-P", "-c", f"from dptr.utils.isolation import answer_all; answer_all({memory})"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**kept, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"},
        )  # fmt: skip
        self._last: bytes | None = None

    def ask(
        self, function: Callable[..., Answer], content: bytes, name: str, settings: dict[str, Any], seconds: float
    ) -> Answer:
        """The answer of a function.

        Raises:
            UserError: it raises one.
            _Ended: the process did; it is closed then.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        again = content is self._last
        question = {
            "function": f"{function.__module__}:{function.__qualname__}", "name": name, "settings": settings,
            "size": None if again else len(content),
        }  # fmt: skip
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n" + (b"" if again else content))
            self._process.stdin.flush()
            self._last = content
            return _read_answer(self._process.stdout)
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            self.close()
            if late.is_set():
                raise _Ended(f"not decoded within {seconds:g} s") from error
            raise _Ended(f"its decoder ended with {_name_end(self._process.returncode)}") from error
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._process.wait()


def _name_end(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"code {code}"


def _read_answer(pipe: IO[bytes]) -> Answer:
    """Read an answer; it is not trusted."""
    head = pipe.readline(_LONGEST_HEAD)
    answer = json.loads(head)  # an empty head, of a process that is no more, is a ValueError
    if answer["error"] is not None:
        kind, message = answer["error"]
        raise _ERRORS[kind](str(message))
    if answer["size"] is None:
        return answer["value"], None
    width, height = map(int, answer["size"])
    if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE and width * height <= _MOST_PIXELS):
        raise ValueError("a picture of an impossible size")
    pixels = pipe.read(3 * width * height)
    image = Image.frombytes("RGB", (width, height), pixels)
    if answer["frames"] is not None:
        image.info[FRAMES] = int(answer["frames"])
    if answer["dpi"] is not None and all(math.isfinite(float(each)) for each in answer["dpi"]):
        image.info["dpi"] = tuple(map(float, answer["dpi"]))
    return answer["value"], image


def answer_all(memory: int) -> None:
    """What the other process does: it answers questions until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal; it ends when its input does
    questions = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # libraries that print
    _limit(memory)
    confine()
    content = b""
    while line := questions.readline():
        question = json.loads(line)
        if question["size"] is not None:
            content = questions.read(question["size"])
        for part in _answer(question, content):
            answers.write(part)
        answers.flush()


def _answer(question: dict[str, Any], content: bytes) -> list[bytes]:
    module, _, name = question["function"].partition(":")
    value, image, failed = None, None, None
    try:
        value, image = getattr(import_module(module), name)(content, question["name"], **question["settings"])
    except UserError as error:
        cause = error.__cause__
        kind = next(each.__name__ for each in (UnknownKind, TooLarge, UserError) if isinstance(error, each))
        failed = (kind, str(error))
        if isinstance(cause, MemoryError):
            failed = ("TooLarge", f"{question['name']}: takes too much memory to decode; shrink it")
    except MemoryError:
        failed = ("TooLarge", f"{question['name']}: takes too much memory to decode; shrink it")
    info = {} if image is None else image.info
    dpi = info.get("dpi")
    head = {
        "value": value, "error": failed, "size": None if image is None else image.size, "frames": info.get(FRAMES),
        "dpi": None if dpi is None else [float(each) for each in dpi],
    }  # fmt: skip
    return [json.dumps(head).encode() + b"\n", *([] if image is None else [image.tobytes()])]


def _limit(memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
    for kind, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        with suppress(ValueError, OSError):  # a lower limit is in force
            resource.setrlimit(kind, (most, most))
