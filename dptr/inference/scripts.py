"""Script detection: a small network that classifies the script of a word or line.

It was trained on rendered words of every script for which the toolkit has a language (research/photo/train_scripts.py),
and is independent of recognizers and charsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from dptr.inference.providers import open_session
from dptr.text.scripts import NO_SCRIPT, SCRIPTS

NAMES = (*SCRIPTS, NO_SCRIPT)
"""The classes, in order."""

HEIGHT = 32  # pixels of the network's input
WIDTH_STEP = 16  # pixels; widths are multiples of it
MIN_WIDTH = 32
MAX_WIDTH = 256  # pixels; longer lines are classified in windows of this width
MOST_WINDOWS = 4  # per line
CONTRAST = 4.0  # gray levels added to the standard deviation, so that noise in empty crops is not amplified

FILE = Path(__file__).with_name("scripts.onnx")


class ScriptFinder:
    """The network, open in onnxruntime on the CPU; several threads may use it at once."""

    def __init__(self, file: str | Path = FILE) -> None:
        self.session = open_session(file, "cpu")

    def __call__(self, crops: Sequence[Image.Image]) -> Float[np.ndarray, "n scripts"]:
        """The probabilities of ``NAMES`` for each crop, RGB or gray, and upright.

        The result for a crop does not depend on the others.
        """
        windows = [(index, window) for index, crop in enumerate(crops) for window in cut_windows(crop)]
        seen: list[list[np.ndarray]] = [[] for _ in crops]
        for width in sorted({window.shape[1] for _, window in windows}):
            own = [(index, window) for index, window in windows if window.shape[1] == width]
            pixels = np.stack([normalize(window) for _, window in own])
            (outputs,) = self.session.run(None, {"pixels": pixels})
            for (index, _), probabilities in zip(own, outputs, strict=True):
                seen[index].append(probabilities)
        return np.array([join_windows(np.array(each)) for each in seen]).reshape(-1, len(NAMES))


def cut_windows(crop: Image.Image) -> list[UInt8[np.ndarray, "h w"]]:
    """A crop in gray, resized to ``HEIGHT``; several windows of it if it is longer than ``MAX_WIDTH``."""
    width = round(HEIGHT * crop.width / (crop.height * WIDTH_STEP)) * WIDTH_STEP
    width = min(max(width, MIN_WIDTH), 1 << 14)
    gray = np.asarray(crop.convert("L").resize((width, HEIGHT), Image.Resampling.BILINEAR))
    if width <= MAX_WIDTH:
        return [gray]
    count = min(-(-width // MAX_WIDTH), MOST_WINDOWS)
    starts = np.linspace(0, width - MAX_WIDTH, count).round().astype(int)
    return [gray[:, start : start + MAX_WIDTH] for start in starts]


def normalize(gray: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "1 h w"]:
    """The network's input: mean 0, and a standard deviation of almost 1."""
    pixels = gray.astype(np.float32)[None]
    return (pixels - pixels.mean()) / (pixels.std() + CONTRAST)


def join_windows(seen: Float[np.ndarray, "windows scripts"]) -> Float[np.ndarray, " scripts"]:
    """Combine the windows of a line: the mean of their scripts, weighted by the probability that they show one."""
    weights = 1 - seen[:, -1]
    scripts = weights @ seen[:, :-1] / max(float(weights.sum()), 1e-9)
    nothing = float(seen[:, -1].min())
    shares = scripts / max(float(scripts.sum()), 1e-9)
    return np.append(shares * (1 - nothing), nothing)
