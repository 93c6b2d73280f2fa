"""A small network that finds the gaps in a line of text: for each column, the probability that it belongs to no word.

It also gives the probability that one letter ends and the next begins there. It was trained on rendered lines, for
which the renderer knows the positions of the letters (research/photo/train_spaces.py). So it does not depend on a
recognizer or a charset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image

from dptr.inference.providers import open_session

HEIGHT = 32  # pixels; lines are resized to it
COLUMNS = 16  # output columns per line height
WIDTH_STEP = 16  # pixels; widths are rounded to multiples of it
MAX_WIDTH = 4096  # pixels; longer lines are squeezed
BATCH_PIXELS = 1 << 18  # approximate pixels per batch
FLAT = 0.15  # a column is flat if the standard deviation of its pixels is below this share of the line's
SURELY = 0.995  # blank probability of flat runs wider than half the height, which are rare in rendered lines
CONTRAST = 4.0  # gray levels added to a line's standard deviation, so that the noise of empty lines is not amplified

FILE = Path(__file__).with_name("spaces.onnx")


@dataclass(frozen=True)
class Columns:
    """Predictions for the columns of a line, from left to right.

    Attributes:
        blank: 0 to 1, the probability that a column belongs to no word.
        edges: 0 to 1, the probability that one letter ends and the next begins there.
        height: of the line, in columns.
    """

    blank: Float[np.ndarray, " n"]
    edges: Float[np.ndarray, " n"]
    height: float


class SpaceFinder:
    """The network, opened with onnxruntime on the CPU; several threads may use it at once."""

    def __init__(self, file: str | Path = FILE) -> None:
        self.session = open_session(file, "cpu")

    def __call__(self, lines: Sequence[Image.Image]) -> list[Columns]:
        """Predict the columns of each line; lines are RGB and run from left to right.

        Lines of one width share a batch. The result for a line does not depend on the other lines.
        """
        widths = [
            min(max(1, round(HEIGHT * line.width / (line.height * WIDTH_STEP))) * WIDTH_STEP, MAX_WIDTH)
            for line in lines
        ]
        columns: dict[int, Columns] = {}
        for width in sorted(set(widths)):
            indices = [index for index, each in enumerate(widths) if each == width]
            batch_size = max(1, BATCH_PIXELS // (HEIGHT * width))
            for start in range(0, len(indices), batch_size):
                batch = indices[start : start + batch_size]
                pixels = np.stack([_normalize(lines[index].resize((width, HEIGHT))) for index in batch])
                (outputs,) = self.session.run(None, {"pixels": pixels})
                for index, image, (blank, edges) in zip(batch, pixels, outputs, strict=True):
                    blank = np.where(_wide_flat(image), SURELY, blank)
                    height = len(blank) * lines[index].height / lines[index].width
                    columns[index] = Columns(blank, edges, height)
        return [columns[index] for index in range(len(lines))]


def _normalize(line: Image.Image) -> Float32[np.ndarray, "3 h w"]:
    pixels = np.asarray(line, np.float32).transpose(2, 0, 1)
    return (pixels - pixels.mean()) / (pixels.std() + CONTRAST)


def _wide_flat(pixels: Float32[np.ndarray, "3 h w"]) -> Bool[np.ndarray, " n"]:
    """The columns in runs of flat columns that are wider than half the height."""
    step = HEIGHT // COLUMNS
    flat = pixels.std(1).max(0).reshape(-1, step).max(1) < FLAT
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flat, [False])).astype(int)))
    wide = np.zeros(len(flat), bool)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        wide[start:end] = end - start > COLUMNS // 2
    return wide
