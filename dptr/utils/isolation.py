"""Decoding of pictures and PDFs in separate processes, because decoders are C code and files come from anywhere.

``Isolation`` starts a process with limits on memory and time and without the rights that decoding does not need
(``dptr.utils.confine``). It sends the process the bytes of a file; the process answers with JSON and plain pixels,
which are checked and never unpickled. If the process dies, that file gets an error, and the next file a new process.
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

MEMORY = 2 << 30  # bytes that a process may allocate after its start, including the file
SECONDS = 60.0  # longest time of a call

Answer = tuple[Any, "Image.Image | None"]
"""The result of an isolated function: a value that JSON can hold, and an RGB picture or None."""

_ERRORS: dict[str, type[UserError]] = {each.__name__: each for each in (UserError, UnknownKind, TooLarge)}
_LONGEST_HEAD = 64 << 20  # most bytes of the JSON of an answer, which may hold the text of a page
_MOST_PIXELS = 1 << 28  # of the picture of an answer
_OPEN_FILES = 64
_PASSED_ON = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SYSTEMROOT")  # environment variables to pass on: no secrets
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # ``confine`` does not reach existing threads


class Call(Protocol):
    """Calls ``function(content, name, **settings)``, in this process (``call_here``) or in another one."""

    def __call__(self, function: Callable[..., Answer], content: bytes, name: str, **settings: Any) -> Answer: ...


def call_here(function: Callable[..., Answer], content: bytes, name: str, **settings: Any) -> Answer:
    """Call a function in this process, without limits."""
    return function(content, name, **settings)


class Isolation:
    """A pool of processes that decode files within limits.

    Several threads may share it. After a fork, the new process starts its own pool.

    Args:
        memory: bytes that a process may allocate after its start.
        seconds: longest time of a call.
        workers: largest number of processes; each is started when it is needed.
    """

    def __init__(self, memory: int = MEMORY, seconds: float = SECONDS, workers: int = 1) -> None:
        self._memory, self._seconds, self._workers = memory, seconds, workers
        self._reset()

    def call(self, function: Callable[..., Answer], content: bytes, name: str, **settings: Any) -> Answer:
        """Call a function of a module in another process.

        Args:
            function: takes ``content``, ``name``, and ``settings``.
            content: bytes of a file. If the process got the same object in its last call, it is not sent again.
            name: of the file, for errors.
            settings: values that JSON can hold.

        Raises:
            UserError: ``function`` raises it; or the process dies, takes too long, or takes too much memory.
        """
        if self._owner != os.getpid():
            self._reset()
        process = self._idle.get()
        try:
            if process is None:
                process = _Process(self._memory)
            return process.ask(function, content, name, settings, self._seconds)
        except _ProcessEnded as end:
            process = None
            raise UserError(f"{name}: {end}; save it anew as PNG, or leave it out") from end
        except UserError:
            raise
        except BaseException:  # such as Ctrl-C: the process has not answered yet, so it cannot be used again
            if process is not None:
                process.close()
            process = None
            raise
        finally:
            self._idle.put(process)

    def open_image(self, source: Picture, name: str = "") -> Image.Image:
        """Open a picture as ``dptr.utils.images.open_image`` does; arrays and PIL images stay in this process."""
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
        """End the idle processes."""
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
    """Check that a value from another process is a list of whole numbers above 0.

    Raises:
        UserError: it is not.
    """
    if not isinstance(value, list) or not all(type(each) is int and each > 0 for each in value):
        raise odd_answer(name)
    return value


def odd_answer(name: str) -> UserError:
    """The error for a file whose decoder gives an invalid answer."""
    return UserError(f"{name}: its decoder went wrong; save it anew as PNG, or leave it out")


def decode(content: bytes, name: str, most_pixels: int | None = None) -> Answer:
    """Open a picture; its size is checked before its pixels are decoded.

    Raises:
        UserError: see ``dptr.utils.images.open_image``; or the picture has more than ``most_pixels`` pixels.
    """
    if most_pixels is not None:
        with open_header(io.BytesIO(content), name) as image:
            check_pixels(*image.size, most_pixels, name)
    return None, open_image(content, name)


class _ProcessEnded(Exception):
    """A process has ended; the message says why."""


class _Process:
    """A process that answers one question at a time."""

    def __init__(self, memory: int) -> None:
        paths = [*filter(None, sys.path), str(Path(__file__).parents[2])]
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-P", "-c", f"from dptr.utils.isolation import answer_all; answer_all({memory})"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**environment, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"},
        )  # fmt: skip
        self._last: bytes | None = None

    def ask(
        self, function: Callable[..., Answer], content: bytes, name: str, settings: dict[str, Any], seconds: float
    ) -> Answer:
        """Call a function in the process and return its answer.

        Raises:
            UserError: the function raises it.
            _Ended: the process has ended, or was ended because it took too long or answered nonsense.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        is_cached = content is self._last
        question = {
            "function": f"{function.__module__}:{function.__qualname__}", "name": name, "settings": settings,
            "size": None if is_cached else len(content),
        }  # fmt: skip
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            self._process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n" + (b"" if is_cached else content))
            self._process.stdin.flush()
            self._last = content
            return _read_answer(self._process.stdout)
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            self.close()
            if timed_out.is_set():
                raise _ProcessEnded(f"not decoded within {seconds:g} s") from error
            raise _ProcessEnded(f"its decoder ended with {_describe_exit(self._process.returncode)}") from error
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._process.wait()


def _describe_exit(code: int) -> str:
    """The name of the signal that ended a process, or its exit code."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"code {code}"


def _read_answer(pipe: IO[bytes]) -> Answer:
    """Read and check an answer, which is not trusted."""
    head = pipe.readline(_LONGEST_HEAD)
    answer = json.loads(head)  # a process that has ended gives an empty head, which raises ValueError
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
    """The main loop of the other process: answer questions until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal reaches this process, too
    questions = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # libraries may print
    _set_limits(memory)
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
    """Call the function of a question and encode its answer, or its error, as a JSON line and pixels."""
    module, _, name = question["function"].partition(":")
    value, image, problem = None, None, None
    try:
        value, image = getattr(import_module(module), name)(content, question["name"], **question["settings"])
    except UserError as error:
        cause = error.__cause__
        kind = next(each.__name__ for each in (UnknownKind, TooLarge, UserError) if isinstance(error, each))
        problem = (kind, str(error))
        if isinstance(cause, MemoryError):
            problem = ("TooLarge", f"{question['name']}: takes too much memory to decode; shrink it")
    except MemoryError:
        problem = ("TooLarge", f"{question['name']}: takes too much memory to decode; shrink it")
    info = {} if image is None else image.info
    dpi = info.get("dpi")
    head = {
        "value": value, "error": problem, "size": None if image is None else image.size, "frames": info.get(FRAMES),
        "dpi": None if dpi is None else [float(each) for each in dpi],
    }  # fmt: skip
    return [json.dumps(head).encode() + b"\n", *([] if image is None else [image.tobytes()])]


def _set_limits(memory: int) -> None:
    """Limit the memory, the files and the core dumps of this process."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
    for kind, limit in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        with suppress(ValueError, OSError):  # a lower limit is already in force
            resource.setrlimit(kind, (limit, limit))
