"""Text detectors, by name: each finds the places of text in a picture.

A detector takes a picture, and returns quadrilaterals around lines or words. The default detector is the small network
of PP-OCRv6. Its weights, rounded to 8 bits, ship with the package (``scripts/detector.py``). Another file of the same
family can be used instead.
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
from dptr.utils.files import digest

DEFAULT_DETECTOR = "ppocr"
EMBEDDED = Path(__file__).with_name("detector.onnx")
PADDLE = "PaddlePaddle"  # in the name of a graph that paddle2onnx wrote

STRIDE = 32  # of the network; the sides of its input are multiples of it
SHORT_SIDE = 832  # pixels of a resized picture; PP-OCR's 736 finds fewer words (research/evidence/scenes.py)
LONG_SIDE = 1600  # pixels; the longest side that the network reads at once
ENLARGE = 3.0  # largest factor by which a picture is enlarged
TILED_SIDE = 4000  # pixels; longest side of a resized picture that is read in tiles, for small text
TILED_GAIN = 1.25  # tiles are read only if they raise the scale by more than this factor
TILE_MARGIN = 64  # pixels that are read around each tile, but not kept
SMALL_TEXT = 20  # pixels of a box's shorter side, at the scale of detection; lower text is small
GRAIN = 12  # of 255: largest difference between a mean of 4 x 4 pixels of blank paper and its surroundings


@dataclass(frozen=True)
class Detection:
    """The text that a detector found in one picture.

    Attributes:
        boxes: quadrilaterals (n, 4, 2): x and y in pixels of the picture; the corners run clockwise as seen on the
            picture.
        scores: 0 to 1, the confidence of the detector in each box.
        outlines: for curved text, by the index of its box, one or more outlines that it may have; the most confident
            reading decides. Each has 2k points, as for ``dptr.photo.strip.Strip``; an outline of four points is
            straight. Boxes that are not in the mapping are straight.
    """

    boxes: Float[np.ndarray, "n 4 2"]
    scores: Float[np.ndarray, " n"]
    outlines: Mapping[int, Sequence[Float[np.ndarray, "points 2"]]] = field(default_factory=dict)


class Detector(Protocol):
    """A function from a picture to the places of its text; several threads may call it at once."""

    def __call__(self, image: Image.Image, /) -> Detection: ...


class DBDetector:
    """A text detector of the DB family, in an ONNX file: pixels in, a map of text probabilities out.

    A picture whose longer side exceeds ``LONG_SIDE`` pixels is shrunk to that. A smaller picture is enlarged until its
    shorter side has ``SHORT_SIDE`` pixels, but not beyond ``LONG_SIDE``, nor by more than ``ENLARGE``. If a shrunk
    picture contains small text, or nothing is found although it is not blank, it is read again in tiles, with up to
    ``TILED_SIDE`` pixels on its longer side. So memory does not grow with the picture: it is about 0.5 GB in addition
    to the picture.

    Args:
        path: the file. It has one input (n, 3, h, w), and one output (n, 1, h, w) or (n, h, w) of probabilities or
            logits.
        device: see ``dptr.inference.providers.open_session``.
        mean, deviation: of pixel values scaled to 0 to 1, in the channel order of the input.
        bgr: whether that order is blue, green, red. None: it is if PaddlePaddle's exporter wrote the file, as for
            PaddleOCR's networks; otherwise it is red, green, blue.

    Raises:
        UserError: the file is missing or damaged, it has other inputs, or the device is missing.
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
        detection = self._detect_at_scale(image, scale)
        fine_scale = min(1.0, TILED_SIDE / long)
        if fine_scale <= TILED_GAIN * scale or (not len(detection.boxes) and is_blank(image)):
            return detection
        heights = np.linalg.norm(detection.boxes[:, 3] - detection.boxes[:, 0], axis=1)
        widths = np.linalg.norm(detection.boxes[:, 1] - detection.boxes[:, 0], axis=1)
        is_small = not len(detection.boxes) or np.median(np.minimum(heights, widths)) * scale < SMALL_TEXT
        return self._detect_at_scale(image, fine_scale) if is_small else detection

    def _detect_at_scale(self, image: Image.Image, scale: float) -> Detection:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        detection = find_boxes(self.map_text(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3)))
        scales = image.width / size[0], image.height / size[1]
        outlines = {
            number: [outline * scales for outline in candidates] for number, candidates in detection.outlines.items()
        }
        return Detection(detection.boxes * scales, detection.scores, outlines)

    def map_text(self, image: Image.Image) -> Float[np.ndarray, "h w"]:
        """The probability that each pixel of an RGB picture is text, 0 to 1; large pictures are read in tiles."""
        pixels: UInt8[np.ndarray, "h w 3"] = np.asarray(image)
        height, width = pixels.shape[:2]
        text = np.zeros((height, width), np.float32)
        for top, bottom in _stretches(height):
            for left, right in _stretches(width):
                outer = (max(top - TILE_MARGIN, 0), max(left - TILE_MARGIN, 0))
                tile = pixels[outer[0] : bottom + TILE_MARGIN, outer[1] : right + TILE_MARGIN]
                tile_text = self._run_network(tile)
                text[top:bottom, left:right] = tile_text[top - outer[0] :, left - outer[1] :][
                    : bottom - top, : right - left
                ]
        return text

    def _run_network(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
        height, width = pixels.shape[:2]
        padded = np.pad(pixels, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
        scaled = np.empty((1, 3, *padded.shape[:2]), np.float32)
        for plane, channel, scale, shift in zip(
            scaled[0], padded.transpose(2, 0, 1)[self._order], self._scale, self._shift, strict=True
        ):
            np.multiply(channel, scale, out=plane)
            plane -= shift
        (output,) = self.session.run(None, {self._input: scaled})[:1]
        text = output.reshape(output.shape[-2:])[:height, :width]
        if text.min() < 0 or text.max() > 1:
            text = 1 / (1 + np.exp(-text))
        return text


def is_blank(image: Image.Image) -> bool:
    """Whether nothing stands out from the background. The grain and the shading of paper do not."""
    means = image.convert("L").reduce(4)
    differences = ImageChops.difference(means, means.filter(ImageFilter.BoxBlur(4)))
    return int(np.asarray(differences).max()) <= GRAIN


def _stretches(length: int) -> list[tuple[int, int]]:
    """Cut ``length`` pixels into parts of about equal length, at most ``LONG_SIDE`` each."""
    ends = np.linspace(0, length, -(-length // LONG_SIDE) + 1).round().astype(int).tolist()
    return list(pairwise(ends))


def find_rapidocr() -> Path:
    """The file of the detector in the installed package ``rapidocr``.

    Raises:
        UserError: the package is not installed, or its version contains no detector.
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
    "rapidocr": lambda device: DBDetector(find_rapidocr(), device),  # the same network in full precision
}
"""Functions that open a detector on a device, by name."""


def open_detector(name: str | Path, device: str = "cpu") -> Detector:
    """Open a detector: a key of ``DETECTORS``, or an ONNX file of a network of the DB family.

    Raises:
        UserError: the name is unknown, or the package of the detector is not installed; or see ``DBDetector``.
    """
    if str(name) in DETECTORS:
        return DETECTORS[str(name)](device)
    if Path(name).suffix != ".onnx":
        raise UserError(f"detector '{name}': unknown; pass one of {', '.join(DETECTORS)}, or a file in ONNX")
    return DBDetector(name, device)


def digest_detector(name: str | Path) -> str:
    """The digest of a detector's file; "" for a key of ``DETECTORS``, and without a name.

    Raises:
        UserError: the file cannot be read.
    """
    if not str(name) or str(name) in DETECTORS:
        return ""
    try:
        return digest(Path(name))
    except OSError as error:
        raise UserError(f"detector '{name}': {error.strerror}; check the path") from error


def find_boxes(
    text: Float[np.ndarray, "h w"],
    threshold: float = 0.3,
    min_score: float = 0.5,
    unclip: float = 1.6,
    min_side: float = 3,
) -> Detection:
    """Turn a map of text probabilities into boxes, as in DB (Liao et al. 2020, arXiv 1911.08947, 3.5).

    The network marks kernels: regions of text, shrunk by area / perimeter. The smallest rectangle around each kernel is
    grown by ``unclip`` * area / perimeter on all sides. Curved kernels also get outlines: their box, and the outlines
    of ``dptr.photo.curve.find_outlines``, which are grown likewise.

    Args:
        text: 0 to 1.
        threshold: pixels above it are text.
        min_score: regions whose pixels have a lower mean are dropped.
        unclip: 1.6 in PP-OCR.
        min_side: pixels; regions with a shorter side are dropped.

    Returns:
        Boxes in pixels of the map, which reaches from 0 to ``w`` and from 0 to ``h``.
    """
    runs, labels = label_runs(text > threshold)
    sums = np.zeros((text.shape[0], text.shape[1] + 1))
    np.cumsum(text, 1, out=sums[:, 1:])
    row, first, stop = runs.T
    count = int(labels.max()) + 1 if len(labels) else 0
    total = np.bincount(labels, sums[row, stop] - sums[row, first], count)
    scores = total / np.maximum(np.bincount(labels, stop - first, count), 1)
    order = np.argsort(labels, kind="stable")
    group_ends = np.searchsorted(labels[order], np.arange(count + 1))
    boxes: list[Float[np.ndarray, "4 2"]] = []
    kept_scores: list[float] = []
    outlines: dict[int, list[Float[np.ndarray, "points 2"]]] = {}
    for label in np.flatnonzero(scores >= min_score):
        members = runs[order[group_ends[label] : group_ends[label + 1]]]
        corners = [members[:, [column, 0]] + (0, down) for column in (1, 2) for down in (0, 1)]
        box = smallest_rectangle(np.concatenate(corners).astype(float))
        width, height = np.hypot(*(box[1] - box[0])), np.hypot(*(box[3] - box[0]))
        if min(width, height) < min_side:
            continue
        straight = grow(box, unclip * width * height / (2 * (width + height)))
        if curved := find_outlines(_pixel_centers(members), box, unclip):
            outlines[len(boxes)] = [straight, *curved]
        boxes.append(straight)
        kept_scores.append(scores[label])
    return Detection(np.array(boxes).reshape(-1, 4, 2), np.array(kept_scores), outlines)


def _pixel_centers(runs: Int[np.ndarray, "n 3"]) -> Float[np.ndarray, "m 2"]:
    """The centers of the pixels of runs (``label_runs``)."""
    lengths = runs[:, 2] - runs[:, 1]
    starts = np.repeat(runs[:, 1] - lengths.cumsum() + lengths, lengths)
    return np.stack((starts + np.arange(len(starts)), np.repeat(runs[:, 0], lengths)), 1) + 0.5


def grow(box: Float[np.ndarray, "4 2"], margin: float) -> Float[np.ndarray, "4 2"]:
    """Extend a rectangle by ``margin`` pixels on each side."""
    right, down = box[1] - box[0], box[3] - box[0]
    right, down = margin * right / np.hypot(*right), margin * down / np.hypot(*down)
    return box + np.array([-right - down, right - down, right + down, down - right])
