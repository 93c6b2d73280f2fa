"""How much a server reads, how long its answers take, and whether hostile callers disturb the others.

    python research/bench/server.py [--model NAME] [--requests N] [--together 1 8 64]

Starts ``dptr serve``, sends crops one a request over as many connections as ``--together`` says, and prints a table:
requests a second, the median and the 99th percentile of their times, statuses, and how much memory the server gained.
Then the same again while slow, oversized, truncated and bomb-like uploads come in. Ends with code 1 where an answer is
neither 200 nor 503, a hostile upload is not refused, or the texts differ from those of ``Reader``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dptr.inference.reader import Reader

CROPS = Path(__file__).resolve().parents[2] / "tests" / "golden" / "crops"
BOUNDARY = b"a-boundary"
SLOW_SECONDS = 15.0  # after which a head that does not end must have been given up


@dataclass
class Load:
    """What came of some requests: the seconds and the status of each, and how long all took."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    whole: float = 0.0

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


def pack(content: bytes, name: str = "crop.png") -> bytes:
    """A request that holds one file."""
    head = f'Content-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    body = b"--" + BOUNDARY + b"\r\n" + head + content + b"\r\n--" + BOUNDARY + b"--\r\n"
    return (
        b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary="
        + BOUNDARY
        + f"\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


async def receive(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return int(head.split(b" ", 2)[1]), await reader.readexactly(int(length[1]) if length else 0)


async def send_all(port: int, requests: list[tuple[bytes, str]], count: int, together: int) -> Load:
    """Send ``count`` requests over ``together`` connections, each as soon as the one before is answered."""
    load = Load()
    numbers = iter(range(count))

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            request, text = requests[number % len(requests)]
            begun = time.perf_counter()
            writer.write(request)
            status, body = await receive(reader)
            load.seconds.append(time.perf_counter() - begun)
            load.statuses[status] += 1
            load.wrong += status == 200 and json.loads(body)["readings"][0]["text"] != text
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(together)))
    load.whole = time.perf_counter() - begun
    return load


async def send_hostile(port: int) -> dict[str, int]:
    """The status that each kind of hostile upload gets; 0 = its connection was closed."""
    whole = (CROPS / "clean.png").read_bytes()
    sent = {
        "truncated": pack(whole[: len(whole) // 2]),
        "bomb": pack(make_bomb()),
        "oversized": pack(bytes(40_000_000)),
        "slow head": b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    }

    async def answer(content: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(content)
        try:
            status, _ = await asyncio.wait_for(receive(reader), SLOW_SECONDS)
        except asyncio.IncompleteReadError:
            status = 0
        writer.close()
        return status

    statuses = await asyncio.gather(*(answer(content) for content in sent.values() for _ in range(4)))
    return {name: max(statuses[4 * index : 4 * index + 4]) for index, name in enumerate(sent)}


def make_bomb() -> bytes:
    """A PNG of a few bytes that says it has 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


async def resident(port: int) -> float:
    """Megabytes of memory that the server has."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, body = await receive(reader)
    writer.close()
    found = re.search(rb"^process_resident_memory_bytes (\S+)$", body, re.MULTILINE)
    return float(found[1]) / 1e6 if found else float("nan")


async def measure(port: int, requests: list[tuple[bytes, str]], options: argparse.Namespace) -> bool:
    await send_all(port, requests, 1000, max(options.together))  # the first batch of each size allocates memory
    fine = True
    print("| connections | requests | a second | p50 ms | p99 ms | 200 | 503 | others | wrong | MB before | after |")
    print("|---" * 11 + "|")
    for together in options.together:
        before = await resident(port)
        load = await send_all(port, requests, options.requests, together)
        fine &= print_row(str(together), load, before, await resident(port))
    before = await resident(port)
    load, hostile = await asyncio.gather(
        send_all(port, requests, options.requests, max(options.together)), send_hostile(port)
    )
    fine &= print_row(f"{max(options.together)} and hostile ones", load, before, await resident(port))
    print(f"hostile: {hostile}")
    return fine and hostile == {"truncated": 422, "bomb": 413, "oversized": 413, "slow head": 0}


def print_row(name: str, load: Load, before: float, after: float) -> bool:
    others = sum(count for status, count in load.statuses.items() if status not in (200, 503))
    numbers = [sum(load.statuses.values()), f"{sum(load.statuses.values()) / load.whole:.0f}"]
    numbers += [f"{1000 * load.quantile(share):.0f}" for share in (0.5, 0.99)]
    numbers += [load.statuses[200], load.statuses[503], others, load.wrong, f"{before:.0f}", f"{after:.0f}"]
    print(f"| {name} | {' | '.join(map(str, numbers))} |", flush=True)
    return not others and not load.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 8, 64])
    options = parser.parse_args()
    reader = Reader(options.model)
    crops = [path.read_bytes() for path in sorted(CROPS.glob("*.png"))]
    requests = [(pack(crop), reader.read(crop).text) for crop in crops]
    command = [sys.executable, "-m", "dptr", "serve", "--port", "0", "--model", options.model]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        found = re.search(r":(\d+) ", said)
        try:
            if found is None:
                sys.exit(said)
            fine = asyncio.run(measure(int(found[1]), requests, options))
        finally:
            server.terminate()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
