"""Characters of 5 x 7 dots, as on display modules and from dot matrix printers.

The shapes are those of a common character generator (HD44780U data sheet, ROM code A00).
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from dptr.synth.layout import SIZE, Line, trim

_ROWS = 8  # seven rows, and one for descenders
_PITCH = SIZE // _ROWS + 1  # pixels from dot to dot
_FIRST = "!"
# Characters from "!" on: five columns each, as hexadecimal bytes whose lowest bit is the uppermost dot.
_COLUMNS = """
00005F0000 0007000700 147F147F14 242A7F2A12 2313086462 3649562050 0008070300 001C224100 0041221C00 2A1C7F1C2A
08083E0808 0080703000 0808080808 0000606000 2010080402 3E5149453E 00427F4000 7249494946 2141494D33 1814127F10
2745454539 3C4A494931 4121110907 3649494936 464949291E 0000140000 0040340000 0008142241 1414141414 0041221408
0201590906 3E415D594E 7C1211127C 7F49494936 3E41414122 7F4141413E 7F49494941 7F09090901 3E41415173 7F0808087F
00417F4100 2040413F01 7F08142241 7F40404040 7F021C027F 7F0408107F 3E4141413E 7F09090906 3E4151215E 7F09192946
2649494932 03017F0103 3F4040403F 1F2040201F 3F4038403F 6314081463 0304780403 6159494D43 007F414141 0204081020
004141417F 0402010204 4040404040 0003070800 2054547840 7F28444438 3844444428 384444287F 3854545418 00087E0902
18A4A49C78 7F08040478 00447D4000 2040403D00 7F10284400 00417F4000 7C04780478 7C08040478 3844444438 FC18242418
18242418FC 7C08040408 4854545424 04043F4424 3C4040207C 1C2040201C 3C4030403C 4428102844 4C9090907C 4464544C44
0008364100 0000770000 0041360800 0201020402
"""


def can_draw(text: str) -> bool:
    """Whether all characters of ``text`` have a shape."""
    return all(char == " " or char in _load_shapes() for char in text)


@functools.lru_cache(maxsize=1)
def _load_shapes() -> dict[str, np.ndarray]:
    """The dots of each character: bool (8, 5), by character."""
    bits = np.arange(_ROWS)[:, None]
    shapes = {}
    for number, digits in enumerate(_COLUMNS.split()):
        columns = np.frombuffer(bytes.fromhex(digits), np.uint8)
        shapes[chr(ord(_FIRST) + number)] = (columns >> bits & 1).astype(bool)
    return shapes


def dot_grid(text: str) -> np.ndarray:
    """Which dots are set: bool (8, 6 x characters); the last column of each character is empty."""
    grid = np.zeros((_ROWS, 6 * len(text)), bool)
    for place, char in enumerate(text):
        if char != " ":
            grid[:, 6 * place : 6 * place + 5] = _load_shapes()[char]
    return grid


def draw_dots(text: str, radius: float, proportion: float = 1.0) -> Line:
    """Draw ``text`` as dots and crop the mask to its ink.

    Args:
        radius: of a dot, in distances between dots; at 0.5, dots touch.
        proportion: horizontal distance between dots, divided by the vertical distance.
    """
    grid = dot_grid(text)
    y, x = (np.arange(_PITCH, dtype=np.float32) + 0.5 - _PITCH / 2 for _ in range(2))
    dot = np.clip(radius * _PITCH - np.hypot(y[:, None], x) + 0.5, 0, 1)
    mask = (np.kron(grid, dot) * 255).astype(np.uint8)
    ends = np.arange(len(text) + 1) * 6 * _PITCH * proportion
    size = round(mask.shape[1] * proportion), mask.shape[0]
    mask, (left, _) = trim(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR))
    places = np.stack((ends[:-1], ends[1:] - _PITCH * proportion), 1) - left
    stops = np.stack((places, np.full_like(places, mask.shape[0] / 2)), -1)
    return Line(mask, (0, 0, mask.shape[1], mask.shape[0]), stops)
