"""Where text is in a picture: detectors, by name.

A detector takes a picture and gives quadrilaterals around lines or words. The default is the small network of
PP-OCRv6, which ships with its weights rounded to 8 bits (``scripts/detector.py``); a file of the same family is
another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageChops, ImageFilter

from dptr.inference.providers import open_session
from dptr.photo.components import label_runs, smallest_rectangle
from dptr.photo.curve import find_outlines
from dptr.utils.errors import UserError

DEFAULT_DETECTOR = "ppocr"
EMBEDDED = Path(__file__).with_name("detector.onnx")
PADDLE = "PaddlePaddle"  # in the name of a graph that paddle2onnx wrote

STRIDE = 32  # of the network: sides of its input are multiples of it
SHORT_SIDE = 832  # pixels; PP-OCR's 736 finds fewer words (research/evidence/scenes.py)
LONG_SIDE = 1600  # pixels that the network reads at once
ENLARGE = 3.0
TILED_SIDE = 4000  # pixels of the longer side, of pictures with small text
TILED_GAIN = 1.25  # times the scale that tiles must bring
TILE_MARGIN = 64  # pixels that a tile has beyond the part that counts
SMALL_TEXT = 20  # pixels of a box's shorter side, at the scale at which it was found
GRAIN = 12  # of 255: by how much means of 4 x 4 pixels of blank paper differ from what is around them, at most


@dataclass(frozen=True)
class Detection:
    """What a detector finds in one picture.

    Attributes:
        boxes: quadrilaterals (n, 4, 2) in pixels of the picture: x, y; corners clockwise as one looks at it.
        scores: 0 to 1, how sure the detector is of each.
        outlines: of curved text, by the number of its box: one or more that it may have, of 2k points each, as for
            ``dptr.photo.strip.Strip``; reading decides. Boxes that are not in it are straight, and so are four points.
    """

    boxes: Float[np.ndarray, "n 4 2"]
    scores: Float[np.ndarray, " n"]
    outlines: Mapping[int, Sequence[Float[np.ndarray, "points 2"]]] = field(default_factory=dict)


class Detector(Protocol):
    """A picture to the places of its text; it may be called by several threads at once."""

    def __call__(self, image: Image.Image, /) -> Detection: ...


class DBDetector:
    """A network of the DB family as an ONNX file: pixels in, a map of how likely each of them is text out.

    A picture is read at the scale at which its shorter side has ``SHORT_SIDE`` pixels, but enlarged to ``ENLARGE``
    times and with a longer side of ``LONG_SIDE`` pixels at most. If a larger picture holds small text, or nothing is
    found and it is not blank, it is read again in tiles, at up to ``TILED_SIDE`` pixels. So memory does not grow with
    the picture: some 0.5 GB beside it.

    Args:
        path: the file; one input (n, 3, h, w), one output (n, 1, h, w) or (n, h, w) of 0 to 1, or of logits.
        device: see ``dptr.inference.providers.open_session``.
        mean, deviation: of pixels from 0 to 1, in the order of the input's channels.
        bgr: whether these are blue, green, red; None = if PaddlePaddle's exporter wrote the file, as PaddleOCR's
            networks read pixels in this order.

    Raises:
        UserError: no such file, a damaged one, or no such device.
    """

    def __init__(
        self,
        path: str | Path,
        device: str = "cpu",
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        deviation: Sequence[float] = (0.5, 0.5, 0.5),
        bgr: bool | None = None,
    ) -> None:
        if not Path(path).is_file():
            raise UserError(f"detector '{path}': no such file; pass one of {', '.join(DETECTORS)}, or a file in ONNX")
        self.session = open_session(path, device)
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise UserError(f"detector '{path}': not one input (n, 3, h, w); pass a network of the DB family in ONNX")
        self._input = inputs[0].name
        self._scale = (1 / (255 * np.array(deviation))).astype(np.float32)
        self._shift = (np.array(mean) / np.array(deviation)).astype(np.float32)
        if bgr is None:
            bgr = PADDLE in self.session.get_modelmeta().graph_name
        self._order = slice(None, None, -1) if bgr else slice(None)

    def __call__(self, image: Image.Image) -> Detection:
        short, long = sorted(image.size)
        scale = min(SHORT_SIDE / short, ENLARGE)
        scale = min(max(scale, min(1, LONG_SIDE / long)), LONG_SIDE / long)
        found = self._find(image, scale)
        fine = min(1.0, TILED_SIDE / long)
        if fine <= TILED_GAIN * scale or (not len(found.boxes) and is_blank(image)):
            return found
        heights = np.linalg.norm(found.boxes[:, 3] - found.boxes[:, 0], axis=1)
        widths = np.linalg.norm(found.boxes[:, 1] - found.boxes[:, 0], axis=1)
        small = not len(found.boxes) or np.median(np.minimum(heights, widths)) * scale < SMALL_TEXT
        return self._find(image, fine) if small else found

    def _find(self, image: Image.Image, scale: float) -> Detection:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        found = find_boxes(self.map_text(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3)))
        scales = image.width / size[0], image.height / size[1]
        outlines = {number: [each * scales for each in may] for number, may in found.outlines.items()}
        return Detection(found.boxes * scales, found.scores, outlines)

    def map_text(self, image: Image.Image) -> Float[np.ndarray, "h w"]:
        """How likely each pixel of an RGB picture is text, 0 to 1; long pictures are read in tiles."""
        pixels: UInt8[np.ndarray, "h w 3"] = np.asarray(image)
        height, width = pixels.shape[:2]
        text = np.zeros((height, width), np.float32)
        for top, bottom in _stretches(height):
            for left, right in _stretches(width):
                outer = (max(top - TILE_MARGIN, 0), max(left - TILE_MARGIN, 0))
                tile = pixels[outer[0] : bottom + TILE_MARGIN, outer[1] : right + TILE_MARGIN]
                part = self._run(tile)
                text[top:bottom, left:right] = part[top - outer[0] :, left - outer[1] :][: bottom - top, : right - left]
        return text

    def _run(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
        height, width = pixels.shape[:2]
        filled = np.pad(pixels, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
        scaled = np.empty((1, 3, *filled.shape[:2]), np.float32)
        for plane, channel, scale, shift in zip(
            scaled[0], filled.transpose(2, 0, 1)[self._order], self._scale, self._shift, strict=True
        ):
            np.multiply(channel, scale, out=plane)
            plane -= shift
        (output,) = self.session.run(None, {self._input: scaled})[:1]
        text = output.reshape(output.shape[-2:])[:height, :width]
        if text.min() < 0 or text.max() > 1:
            text = 1 / (1 + np.exp(-text))
        return text


def is_blank(image: Image.Image) -> bool:
    """Whether nothing stands out from its ground; the grain of paper and its shading do not."""
    means = image.convert("L").reduce(4)
    beside = ImageChops.difference(means, means.filter(ImageFilter.BoxBlur(4)))
    return int(np.asarray(beside).max()) <= GRAIN


def _stretches(length: int) -> list[tuple[int, int]]:
    """``length`` pixels in even parts of at most ``LONG_SIDE``."""
    ends = np.linspace(0, length, -(-length // LONG_SIDE) + 1).round().astype(int).tolist()
    return list(pairwise(ends))


def find_rapidocr() -> Path:
    """The file of the network in the installed package ``rapidocr``.

    Raises:
        UserError: it is not installed, or a version without one.
    """
    spec = find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"detector 'rapidocr': not installed; pip install 'rapidocr>=3.10', or use {DEFAULT_DETECTOR}")
    files = sorted(path for place in spec.submodule_search_locations for path in Path(place).glob("models/*det*.onnx"))
    if not files:
        raise UserError("detector 'rapidocr': this version of it brings no detector; pip install 'rapidocr>=3.10'")
    return files[-1]


DETECTORS: dict[str, Callable[[str], Detector]] = {
    "ppocr": lambda device: DBDetector(EMBEDDED, device),
    "rapidocr": lambda device: DBDetector(find_rapidocr(), device),  # the same in full precision
}
"""What opens a detector on a device, by name."""


def open_detector(name: str | Path, device: str = "cpu") -> Detector:
    """Open a detector: a key of ``DETECTORS``, or a file of the DB family in ONNX.

    Raises:
        UserError: an unknown name, a package that is not installed, or what ``DBDetector`` raises.
    """
    if str(name) in DETECTORS:
        return DETECTORS[str(name)](device)
    if Path(name).suffix != ".onnx":
        raise UserError(f"detector '{name}': unknown; pass one of {', '.join(DETECTORS)}, or a file in ONNX")
    return DBDetector(name, device)


def find_boxes(
    text: Float[np.ndarray, "h w"],
    threshold: float = 0.3,
    min_score: float = 0.5,
    unclip: float = 1.6,
    min_side: float = 3,
) -> Detection:
    """Turn a map of how likely each pixel is text into boxes, as DB does (Liao et al. 2020, arXiv 1911.08947, 3.5).

    The network marks kernels: regions shrunk by area / perimeter. Each kernel's smallest rectangle is grown again by
    ``unclip`` * area / perimeter on all sides. Curved kernels have outlines too: their box and, grown alike, those of
    ``dptr.photo.curve.find_outlines``.

    Args:
        text: 0 to 1.
        threshold: pixels above it are text.
        min_score: of the mean over a region's pixels; regions below it are left out.
        unclip: PP-OCR's is 1.6.
        min_side: pixels; regions with a shorter side are left out.

    Returns:
        Boxes in pixels of the map, the whole map being 0 to ``w`` and 0 to ``h``.
    """
    runs, labels = label_runs(text > threshold)
    sums = np.zeros((text.shape[0], text.shape[1] + 1))
    np.cumsum(text, 1, out=sums[:, 1:])
    row, first, after = runs.T
    count = int(labels.max()) + 1 if len(labels) else 0
    total = np.bincount(labels, sums[row, after] - sums[row, first], count)
    scores = total / np.maximum(np.bincount(labels, after - first, count), 1)
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(count + 1))
    boxes: list[Float[np.ndarray, "4 2"]] = []
    kept: list[float] = []
    outlines: dict[int, list[Float[np.ndarray, "points 2"]]] = {}
    for label in np.flatnonzero(scores >= min_score):
        members = runs[order[ends[label] : ends[label + 1]]]
        corners = [members[:, [column, 0]] + (0, down) for column in (1, 2) for down in (0, 1)]
        box = smallest_rectangle(np.concatenate(corners).astype(float))
        width, height = np.hypot(*(box[1] - box[0])), np.hypot(*(box[3] - box[0]))
        if min(width, height) < min_side:
            continue
        straight = grow(box, unclip * width * height / (2 * (width + height)))
        if bent := find_outlines(_pixels(members), box, unclip):
            outlines[len(boxes)] = [straight, *bent]
        boxes.append(straight)
        kept.append(scores[label])
    return Detection(np.array(boxes).reshape(-1, 4, 2), np.array(kept), outlines)


def _pixels(runs: Int[np.ndarray, "n 3"]) -> Float[np.ndarray, "m 2"]:
    """The centers of the pixels of runs (``label_runs``)."""
    lengths = runs[:, 2] - runs[:, 1]
    starts = np.repeat(runs[:, 1] - lengths.cumsum() + lengths, lengths)
    return np.stack((starts + np.arange(len(starts)), np.repeat(runs[:, 0], lengths)), 1) + 0.5


def grow(box: Float[np.ndarray, "4 2"], margin: float) -> Float[np.ndarray, "4 2"]:
    """A rectangle with ``margin`` pixels more on each side."""
    right, down = box[1] - box[0], box[3] - box[0]
    right, down = margin * right / np.hypot(*right), margin * down / np.hypot(*down)
    return box + np.array([-right - down, right - down, right + down, down - right])
