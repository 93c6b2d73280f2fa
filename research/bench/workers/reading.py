"""What the recognizers that are timed have in common: crops from a file, read and timed on request.

``crops`` of a worker's options is an .npz file of uint8 (h, w, 3) arrays in RGB, in their order. A request is a line of
JSON, ``{"calls": [[0], [1, 2], ...]}``: each call reads the crops of these numbers at once. The reply has ``wall`` and
``cpu``, the seconds and the CPU seconds of all threads of each call, and ``texts`` of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from serve import answer_each

Read = Callable[[Sequence[np.ndarray]], Sequence[str]]
WARM = 3  # calls before the clock starts


def crops_of(path: str) -> list[np.ndarray]:
    """The arrays of an .npz file."""
    with np.load(path) as stored:
        return [stored[name] for name in stored.files]


def serve_reading(read: Read, crops: Sequence[np.ndarray]) -> None:
    """Answer requests until standard input ends; crops as ``read`` takes them."""
    for _ in range(WARM):
        read(crops[:1])

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        wall: list[float] = []
        cpu: list[float] = []
        texts = []
        for call in request["calls"]:
            wanted = [crops[number] for number in call]
            began, used = time.perf_counter(), time.process_time()
            read_now = read(wanted)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - used)
            texts.append(list(read_now))
        return {"wall": wall, "cpu": cpu, "texts": texts}

    answer_each(answer)
