"""The bodies of requests, taken into memory piece by piece; nothing of them is written to the disk or to a log."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from dptr.serve.limits import Limits, Refusal, refuse_busy
from dptr.serve.recognizers import Upload

FILES = "files"  # the field of the files, in forms and in JSON
_LONGEST_NAME = 255
_LINGER = 2.0  # seconds for which the rest of a body that is refused is taken, so that its sender hears the answer
_FIELDS = 32


@dataclass(frozen=True)
class Body:
    """What a request holds: its files, and its other fields."""

    uploads: list[Upload]
    fields: dict[str, Any]


class Intake:
    """Takes bodies, within ``Limits`` for each and for all of them together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @contextmanager
    def hold(self) -> Iterator[_Count]:
        """The count of one request's bytes; they are held until its end."""
        count = _Count()
        try:
            yield count
        finally:
            self._held -= count.taken

    async def receive(self, request: Request, count: _Count) -> Body:
        """Take the body of a request: a form with files, or JSON with files in base64.

        Raises:
            Refusal: 413 it is too large, 408 it comes too slowly, 415 it is of another kind, 400 it is broken, 503
                others hold too much memory.
            ClientDisconnect: its sender has gone.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        stream = self._stream(request, count)
        try:
            async with asyncio.timeout(self._limits.upload):
                if kind == "multipart/form-data":
                    return await _read_form(request, stream)
                if kind == "application/json":
                    content = b"".join([chunk async for chunk in stream])
                    return await asyncio.to_thread(_read_json, content)
        except TimeoutError as error:
            raise Refusal(408, f"the body took more than {self._limits.upload:g} s; send less at once") from error
        except Refusal as refusal:
            if refusal.status in (413, 503):
                await _linger(request)
            raise
        raise Refusal(
            415, f"content of type '{kind or 'none'}'; send multipart/form-data or application/json, see /docs"
        )

    async def _stream(self, request: Request, count: _Count) -> AsyncGenerator[bytes, None]:
        most = self._limits.most_bytes
        too_large = Refusal(413, f"more than {self._limits.megabytes:g} MB; send fewer or smaller pictures at once")
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            raise too_large
        async for chunk in request.stream():
            count.taken += len(chunk)
            self._held += len(chunk)
            if count.taken > most:
                raise too_large
            if self._held > self._limits.most_held_bytes:
                raise refuse_busy(1)
            yield chunk


class _Count:
    """The bytes of one request that were taken."""

    def __init__(self) -> None:
        self.taken = 0


async def _linger(request: Request) -> None:
    """Take and drop what is still being sent, for a short time: a connection that is closed on a sender is an error of
    the network to it, whatever was answered."""
    try:
        async with asyncio.timeout(_LINGER):
            async for _ in request.stream():
                pass
    except (TimeoutError, ClientDisconnect, RuntimeError):  # RuntimeError: the stream had come to its end
        pass


class _InMemory(MultiPartParser):
    """Keeps all files in memory; Starlette's own writes large ones to the disk."""

    spool_max_size = 0  # of ``tempfile.SpooledTemporaryFile``: no limit


async def _read_form(request: Request, stream: AsyncGenerator[bytes, None]) -> Body:
    parser = _InMemory(request.headers, stream, max_fields=_FIELDS, max_part_size=1 << 20)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"a broken form ({error.message.rstrip('.')}); see /docs") from error
    except (KeyError, ValueError) as error:  # no boundary, or one that is no ASCII
        raise Refusal(400, "a broken form; see /docs") from error
    uploads: list[Upload] = []
    fields: dict[str, Any] = {}
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            if key != FILES:
                raise Refusal(400, f"a file in the field '{key[:50]}'; send files in '{FILES}'")
            uploads.append(Upload(_name(value.filename, len(uploads)), await value.read()))
            await value.close()
        elif key in fields:
            raise Refusal(400, f"the field '{key[:50]}' twice; send it once")
        else:
            fields[key] = value
    if isinstance(fields.get("lexicon"), str):
        fields["lexicon"] = fields["lexicon"].splitlines()
    return Body(uploads, fields)


def _read_json(content: bytes) -> Body:
    try:
        held = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"broken JSON ({' '.join(str(error).split())[:100]}); see /docs") from error
    if not isinstance(held, dict):
        raise Refusal(400, "JSON that is no object; see /docs")
    listed = held.pop(FILES, [])
    if not isinstance(listed, list):
        raise Refusal(400, f"'{FILES}' is no list; see /docs")
    return Body([_decode(each, index) for index, each in enumerate(listed)], held)


def _decode(value: Any, index: int) -> Upload:
    """A file in base64, alone or as ``{"name": ..., "data": ...}``."""
    name, data = (value.get("name"), value.get("data")) if isinstance(value, dict) else (None, value)
    if not isinstance(data, str) or not isinstance(name, str | None):
        raise Refusal(400, f"'{FILES}', number {index + 1}: no base64; see /docs")
    if data.startswith("data:"):
        data = data.partition(",")[2]
    try:
        return Upload(_name(name, index), base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"'{FILES}', number {index + 1}: broken base64 ({error})") from error


def _name(name: str | None, index: int) -> str:
    return name[:_LONGEST_NAME] if name else f"file-{index + 1}"
