"""What an OCR server answers to uploads that are broken, large, turned, or not allowed.

    python research/bench/answers.py URL PATH FIELD [PID]
    python research/bench/answers.py http://127.0.0.1:8000 /v1/ocr files        # dptr serve
    python research/bench/answers.py http://127.0.0.1:9003 /ocr image_file      # rapidocr_api

Prints a line for each: what was sent, the status, with PID the memory that the server's process gained, and the
beginning of the answer.
"""

from __future__ import annotations

import argparse
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

PHOTOGRAPH = Path(__file__).resolve().parents[2] / "tests" / "golden" / "photograph.jpg"
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 40]>>endobj trailer<</Root 1 0 R>>"
)
ORIENTATION, TURNED = 274, 6  # the tag of EXIF, and "turn by 90 degrees to see it"
SITE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": "https://example.org"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("path")
    parser.add_argument("field")
    parser.add_argument("pid", type=int, nargs="?")
    options = parser.parse_args()
    address = options.url + options.path

    def tell(what: str, answer: httpx.Response, before: int) -> None:
        gained = f"{memory(options.pid) - before:+5} MB  " if options.pid else ""
        print(f"{what:24} {answer.status_code}  {gained}{' '.join(answer.text.split())[:100]}", flush=True)

    for what, name, kind, content in uploads():
        before = memory(options.pid)
        tell(what, httpx.post(address, files={options.field: (name, content, kind)}, timeout=600), before)
    before = memory(options.pid)
    tell("no file", httpx.post(address), before)
    photo: dict[str, Any] = {"files": {options.field: ("x.jpg", PHOTOGRAPH.read_bytes(), "image/jpeg")}, "timeout": 600}
    tell("by another site's page", httpx.post(address, headers=SITE, **photo), before)
    for path in ("/", "/health", "/metrics", "/openapi.json"):
        tell(path, httpx.get(options.url + path), before)
    tell("to another host's name", httpx.get(options.url, headers={"Host": "example.org"}), before)


def uploads() -> Iterator[tuple[str, str, str, bytes]]:
    """What is sent: in words, the name, the kind, and the content of each file."""
    photo = PHOTOGRAPH.read_bytes()
    yield "a photograph", "x.jpg", "image/jpeg", photo
    yield "turned by EXIF", "x.jpg", "image/jpeg", turn(photo)
    yield "text", "x.jpg", "image/jpeg", b"no picture"
    yield "cut off", "x.jpg", "image/jpeg", photo[:3000]
    yield "a PDF", "x.pdf", "application/pdf", PDF
    yield "150 million pixels", "x.png", "image/png", draw_black(15_000, 10_000)
    yield "40 MB", "x.jpg", "image/jpeg", photo + bytes(40_000_000)


def turn(photo: bytes) -> bytes:
    """The same picture as it is seen, stored on its side."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[ORIENTATION] = TURNED
    Image.open(io.BytesIO(photo)).convert("RGB").rotate(90, expand=True).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


def draw_black(width: int, height: int) -> bytes:
    """A black PNG, row by row."""
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def memory(pid: int | None) -> int:
    """Resident megabytes of a process; 0 without one."""
    if pid is None:
        return 0
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1000


if __name__ == "__main__":
    main()
