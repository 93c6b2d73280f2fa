"""Receives and parses the bodies of requests, in memory only: nothing of a body goes to the disk or to a log."""

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

FILES = "files"  # the field with the files, in forms and in JSON
LONGEST_NAME = 1024  # characters of a file name, at most; each page of the file repeats it in the response
_LINGER = 2.0  # seconds for which the rest of a refused body is still received
_FIELDS = 32  # fields of a form, apart from files


@dataclass(frozen=True)
class Body:
    """The content of a request: its files, and its other fields."""

    uploads: list[Upload]
    fields: dict[str, Any]


class Intake:
    """Receives bodies, and enforces the limits on the size of each body and of all bodies in memory.

    Args:
        limits: ``megabytes``, ``held``, and ``upload`` apply.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._received = 0

    @contextmanager
    def hold(self) -> Iterator[_Count]:
        """Count the received bytes of one request. They count as memory in use until the context ends."""
        count = _Count()
        try:
            yield count
        finally:
            self._received -= count.received

    async def receive(self, request: Request, count: _Count) -> Body:
        """Receive and parse the body of a request: a form with files, or JSON with files in base64.

        Args:
            request: the request.
            count: from ``hold``.

        Raises:
            Refusal: 400 the body is malformed, 408 it arrives too slowly, 413 it is too large, 415 it has another
                content type, 503 the bodies of other requests use too much memory.
            ClientDisconnect: the client disconnected.
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
        """The chunks of a body.

        Raises:
            Refusal: 413 or 503; see ``receive``.
        """
        most = self._limits.most_bytes
        too_large = Refusal(413, f"more than {self._limits.megabytes:g} MB; send fewer or smaller pictures at once")
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            raise too_large
        async for chunk in request.stream():
            count.received += len(chunk)
            self._received += len(chunk)
            if count.received > most:
                raise too_large
            if self._received > self._limits.most_held_bytes:
                raise refuse_busy(1)
            yield chunk


class _Count:
    """The number of bytes received of one request."""

    def __init__(self) -> None:
        self.received = 0


async def _linger(request: Request) -> None:
    """Receive and discard the rest of a body for a short time.

    A client whose connection closes while it still sends sees a network error instead of the response.
    """
    try:
        async with asyncio.timeout(_LINGER):
            async for _ in request.stream():
                pass
    except (TimeoutError, ClientDisconnect, RuntimeError):  # RuntimeError: the stream has ended already
        pass


class _InMemory(MultiPartParser):
    """Starlette's parser of forms, with all files in memory; by default it writes large files to the disk."""

    spool_max_size = 0  # for ``tempfile.SpooledTemporaryFile``, 0 = no limit in memory


async def _read_form(request: Request, stream: AsyncGenerator[bytes, None]) -> Body:
    """Parse a form. A field ``lexicon`` has one word a line.

    Raises:
        Refusal: 400, the form is malformed, has a file in another field than ``FILES`` or text in that one, has a
            field twice, or has a file name that is too long.
    """
    parser = _InMemory(request.headers, stream, max_fields=_FIELDS, max_part_size=1 << 20)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        reason = str(error.__cause__ or error.message).rstrip(".")
        raise Refusal(400, f"a broken form ({reason}); see /docs") from error
    except (KeyError, ValueError) as error:  # the boundary is missing or not ASCII
        raise Refusal(400, "a broken form; see /docs") from error
    uploads: list[Upload] = []
    fields: dict[str, Any] = {}
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            if key != FILES:
                raise Refusal(400, f"a file in the field '{key[:50]}'; send files in '{FILES}'")
            uploads.append(Upload(_make_name(value.filename, len(uploads)), await value.read()))
            await value.close()
        elif key == FILES:
            raise Refusal(400, f"'{FILES}' as text; send the file with its name, as 'curl -F {FILES}=@photo.jpg' does")
        elif key in fields:
            raise Refusal(400, f"the field '{key[:50]}' twice; send it once")
        else:
            fields[key] = value
    if isinstance(fields.get("lexicon"), str):
        fields["lexicon"] = fields["lexicon"].splitlines()
    return Body(uploads, fields)


def _read_json(content: bytes) -> Body:
    """Parse JSON: an object with the fields and a list of files.

    Raises:
        Refusal: 400, the JSON is malformed or of another form.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"broken JSON ({' '.join(str(error).split())[:100]}); see /docs") from error
    if not isinstance(fields, dict):
        raise Refusal(400, "JSON that is no object; see /docs")
    files = fields.pop(FILES, [])
    if not isinstance(files, list):
        raise Refusal(400, f"'{FILES}' is no list; see /docs")
    return Body([_decode_file(each, index) for index, each in enumerate(files)], fields)


def _decode_file(value: Any, index: int) -> Upload:
    """Decode a file: base64 or a data URL, alone or as ``{"name": ..., "data": ...}``.

    Raises:
        Refusal: 400, the value is not base64, has another key, or the file name is too long.
    """
    name, data = (value.get("name"), value.get("data")) if isinstance(value, dict) else (None, value)
    if isinstance(value, dict) and (others := [key for key in value if key not in ("name", "data")]):
        raise Refusal(400, f"'{FILES}', number {index + 1}: '{others[0][:50]}' is unknown; there are name, data")
    if not isinstance(data, str) or not isinstance(name, str | None):
        raise Refusal(400, f"'{FILES}', number {index + 1}: no base64; see /docs")
    if data.startswith("data:"):
        data = data.partition(",")[2]
    try:
        return Upload(_make_name(name, index), base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"'{FILES}', number {index + 1}: broken base64 ({error})") from error


def _make_name(name: str | None, index: int) -> str:
    """The name of a file; a number for a file without a name.

    Raises:
        Refusal: 400, the name has more than ``LONGEST_NAME`` characters.
    """
    if name and len(name) > LONGEST_NAME:
        raise Refusal(
            400, f"a file name of {len(name)} characters; at most {LONGEST_NAME} are allowed, send a shorter name"
        )
    return name or f"file-{index + 1}"
