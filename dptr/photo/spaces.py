"""Where a line of text is white: a small network that says for each column how likely it is of no word.

It also says where one letter ends and the next begins. It has learned from rendered lines of which the renderer knows
where the letters stand (research/photo/train_spaces.py), so it belongs to no recognizer and to no charset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image

from dptr.inference.providers import open_session

HEIGHT = 32  # pixels of the lines that it reads
COLUMNS = 16  # that it gives for a stretch as wide as the line is high
WIDTH_STEP = 16  # pixels; widths are multiples of it
MAX_WIDTH = 4096  # pixels; longer lines are squeezed
BATCH_PIXELS = 1 << 18  # pixels that it reads at once, about
FLAT = 0.15  # deviation of a column's pixels, of the line's, below which nothing is in it
SURELY = 0.995  # probability of blank in flat stretches wider than half the height, which rendered lines hardly have
CONTRAST = 4.0  # gray levels added to a line's deviation, so that empty ones stay empty

FILE = Path(__file__).with_name("spaces.onnx")


@dataclass(frozen=True)
class Columns:
    """What the columns of a line hold, from left to right.

    Attributes:
        blank: 0 to 1, how likely a column is of no word.
        edges: 0 to 1, how likely one letter ends and the next begins there.
        height: of the line, in columns.
    """

    blank: Float[np.ndarray, " n"]
    edges: Float[np.ndarray, " n"]
    height: float


class SpaceFinder:
    """The network, open in onnxruntime on the CPU; several threads may use it at once."""

    def __init__(self, file: str | Path = FILE) -> None:
        self.session = open_session(file, "cpu")

    def __call__(self, lines: Sequence[Image.Image]) -> list[Columns]:
        """What the columns of each line hold; lines are RGB and run from left to right.

        Lines of one width are read together: what is seen in one does not depend on the others.
        """
        widths = [
            min(max(1, round(HEIGHT * line.width / (line.height * WIDTH_STEP))) * WIDTH_STEP, MAX_WIDTH)
            for line in lines
        ]
        columns: dict[int, Columns] = {}
        for width in sorted(set(widths)):
            own = [index for index, each in enumerate(widths) if each == width]
            most = max(1, BATCH_PIXELS // (HEIGHT * width))
            for start in range(0, len(own), most):
                batch = own[start : start + most]
                pixels = np.stack([_normalize(lines[index].resize((width, HEIGHT))) for index in batch])
                (found,) = self.session.run(None, {"pixels": pixels})
                for index, image, (blank, edges) in zip(batch, pixels, found, strict=True):
                    blank = np.where(_wide_flat(image), SURELY, blank)
                    height = len(blank) * lines[index].height / lines[index].width
                    columns[index] = Columns(blank, edges, height)
        return [columns[index] for index in range(len(lines))]


def _normalize(line: Image.Image) -> Float32[np.ndarray, "3 h w"]:
    pixels = np.asarray(line, np.float32).transpose(2, 0, 1)
    return (pixels - pixels.mean()) / (pixels.std() + CONTRAST)


def _wide_flat(pixels: Float32[np.ndarray, "3 h w"]) -> Bool[np.ndarray, " n"]:
    """The columns of stretches wider than half the height in which no column changes from top to bottom."""
    step = HEIGHT // COLUMNS
    flat = pixels.std(1).max(0).reshape(-1, step).max(1) < FLAT
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flat, [False])).astype(int)))
    wide = np.zeros(len(flat), bool)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        wide[start:end] = end - start > COLUMNS // 2
    return wide
