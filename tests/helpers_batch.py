"""Crops, and a store, for the tests of ``dptr batch``."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from dptr.utils import places

MODEL = "dptr-en-tiny"
WORDS = (
    "open",
    "EXIT",
    "Hotel",
    "24h",
    "taxi",
    "BAKERY",
    "stop",
    "menu",
    "Room",
    "305",
    "pull",
    "push",
    "sale",
    "Cafe",
)


def draw_word(word: str) -> bytes:
    """A PNG."""
    picture = Image.new("RGB", (30 + 22 * len(word), 48), (235, 230, 220))
    ImageDraw.Draw(picture).text((12, 6), word, fill=(20, 30, 60), font=ImageFont.load_default(32))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def draw_words(count: int) -> list[bytes]:
    """PNGs of ``count`` words, some twice."""
    drawn = [draw_word(word) for word in WORDS]
    return [drawn[number % len(WORDS)] for number in range(count)]


def write_folder(folder: Path, pictures: Sequence[bytes]) -> None:
    for number, content in enumerate(pictures):
        path = folder / f"{number // 10}" / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_parquet(path: Path, pictures: Sequence[bytes | None], rows: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({"id": [*range(len(pictures))], "image": pa.array([*pictures], pa.binary())}),
        path,
        row_group_size=rows,
    )


def pack_tar(members: Sequence[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def read_rows(out: Path, table: str = "readings") -> list[dict]:
    """The rows of all parts, in order."""
    parts = sorted((out / table).glob("part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def read_totals(out: Path) -> dict:
    return json.loads((out / "_finished.json").read_text())


class Store:
    """As much of S3 as Arrow asks for, in memory.

    Attributes:
        objects: by bucket and key.
        busy: so many answers to come are "slow down".
        cut: keys whose content ends halfway, with the connection.
        refuses: whether every request is denied.
        requests: methods and paths, as they came.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.busy = 0
        self.cut: set[str] = set()
        self.refuses = False
        self.requests: list[str] = []
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.port = 0

    def url(self, path: str) -> str:
        return f"s3://bucket/{path}?endpoint_override=127.0.0.1:{self.port}&scheme=http&allow_bucket_creation=true"


@contextmanager
def serve_store() -> Iterator[Store]:
    """A store on loopback."""
    store = Store()

    class Handler(_Handler):
        held = store

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.port = server.server_port
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def connect_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store on loopback, with the environment that Arrow reads; a busy one is asked again at once."""
    for name, value in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(places, "WAITS", (0.0, 0.0))
    places._connect.cache_clear()
    with serve_store() as store:
        yield store


class _Handler(BaseHTTPRequestHandler):
    held: Store
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _begin(self) -> tuple[str, dict[str, list[str]], bytes] | None:
        parts = urlsplit(self.path)
        key, query = unquote(parts.path).strip("/"), parse_qs(parts.query, keep_blank_values=True)
        body = self._body()
        self.held.requests.append(f"{self.command} {key}")
        if self.held.refuses:
            self._error(403, "AccessDenied")
        elif self.held.busy:
            self.held.busy -= 1
            self._error(503, "SlowDown")
        else:
            return key, query, body
        return None

    def _body(self) -> bytes:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            raw = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return raw
        content, rest = b"", raw
        while rest:
            head, _, rest = rest.partition(b"\r\n")
            size = int(head.split(b";")[0], 16)
            if not size:
                break
            content, rest = content + rest[:size], rest[size + 2 :]
        return content

    def _answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _xml(self, text: str, code: int = 200) -> None:
        self._answer(code, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(), Content_Type="application/xml")

    def _error(self, code: int, name: str) -> None:
        self._xml(f"<Error><Code>{name}</Code><Message>{name}</Message></Error>", code)

    def do_HEAD(self) -> None:
        if (begun := self._begin()) is None:
            return
        key = begun[0]
        if key in ("bucket", *self.held.objects):
            body = self.held.objects.get(key, b"")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"x"')
            self.end_headers()
        else:
            self._answer(404)

    def do_GET(self) -> None:
        if (begun := self._begin()) is None:
            return
        key, query, _ = begun
        if key == "bucket":
            self._list(query)
            return
        if key not in self.held.objects:
            self._error(404, "NoSuchKey")
            return
        body, asked = self.held.objects[key], self.headers.get("Range")
        first, last = 0, len(body) - 1
        if asked:
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(begin), min(int(end or last), last)
        content = body[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        self.send_header("ETag", '"x"')
        self.end_headers()
        if key in self.held.cut:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content)

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys = sorted(key.removeprefix("bucket/") for key in self.held.objects)
        keys = [key for key in keys if key.startswith(prefix)]
        folders = sorted({prefix + key[len(prefix) :].split("/")[0] + "/" for key in keys if "/" in key[len(prefix) :]})
        if delimiter:
            keys = [key for key in keys if "/" not in key[len(prefix) :]]
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.held.objects[f'bucket/{key}'])}</Size>"
            '<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"x"</ETag></Contents>'
            for key in keys
        )
        below = "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders)
        self._xml(
            f"<ListBucketResult><Name>bucket</Name><KeyCount>{len(keys)}</KeyCount><IsTruncated>false</IsTruncated>"
            f"{found}{below if delimiter else ''}</ListBucketResult>"
        )

    def do_PUT(self) -> None:
        if (begun := self._begin()) is None:
            return
        key, query, body = begun
        if "uploadId" in query:
            self.held.uploads[key][int(query["partNumber"][0])] = body
        else:
            self.held.objects[key] = body
        self._answer(200, ETag='"x"')

    def do_POST(self) -> None:
        if (begun := self._begin()) is None:
            return
        key, query, _ = begun
        if "uploads" in query:
            self.held.uploads[key] = {}
            self._xml(
                f"<InitiateMultipartUploadResult><Key>{escape(key)}</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            )
        elif "uploadId" in query:
            parts = self.held.uploads.pop(key)
            self.held.objects[key] = b"".join(parts[number] for number in sorted(parts))
            self._xml(
                f'<CompleteMultipartUploadResult><Key>{escape(key)}</Key><ETag>"x"</ETag></CompleteMultipartUploadResult>'
            )
        else:
            self._error(501, "NotImplemented")

    def do_DELETE(self) -> None:
        if (begun := self._begin()) is None:
            return
        self.held.objects.pop(begun[0], None)
        self._answer(204)
