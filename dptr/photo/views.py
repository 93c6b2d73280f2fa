"""Detected boxes as straight crops, in each way that their text may run, split where spaces may be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from PIL import Image

from dptr.inference.prediction import Prediction
from dptr.photo.detect import Detection
from dptr.photo.rectify import Crop, lengthen, rectify, side_lengths
from dptr.photo.spaces import Columns, SpaceFinder
from dptr.photo.split import Gaps, Span, choose_words, find_gaps, keep_inner, possible_words

BEYOND = 0.25  # of a box's height, that its line is cut longer on both sides: detectors cut letters off
TALL = 1.5  # height / width from which on text may run up or down
DOUBTFUL = 0.5  # mean confidence of a line's words below which it may be upside down
MARGIN = 0.06  # of the line's height, beside a word that is read
TRIM = 0.04  # of the line's height, above and below a word that is read


@dataclass
class View:
    """A line in one of the ways that its text may run.

    Attributes:
        corners: where the line's top left, top right, bottom right and bottom left lie in the picture.
        columns, gaps, spans: what ``SpaceFinder``, ``find_gaps`` and ``possible_words`` say of it.
        image: the straightened line, as long as crops are cut from it.
        readings: of each span.
    """

    corners: Float[np.ndarray, "4 2"]
    columns: Columns
    gaps: Gaps
    spans: list[Span]
    image: Image.Image | None = None
    readings: dict[Span, Prediction] = field(default_factory=dict)

    def cut(self, span: Span) -> Image.Image:
        """The crop of a word, with a margin."""
        assert self.image is not None
        width, height = self.image.size
        left, right = self.gaps.bounds(span)
        margin, trim = MARGIN * height, int(TRIM * height)
        sides = max(0, int(left * width - margin)), min(width, int(np.ceil(right * width + margin)))
        return self.image.crop((sides[0], trim, max(sides[1], sides[0] + 1), max(height - trim, trim + 1)))

    def words(self) -> tuple[list[Span], float]:
        """The best way to split the line, and the mean of the logarithms of its words' confidences."""
        confidences = {
            span: reading.confidence if reading.text.strip() and not reading.runaway else 0.0
            for span, reading in self.readings.items()
        }
        spans, _ = choose_words(self.gaps, confidences)
        return spans, float(np.mean([np.log(max(confidences[span], 1e-6)) for span in spans]))


@dataclass
class LineViews:
    """A detected box in all the ways that its text may run; the first is the usual one."""

    views: list[View]

    def is_doubtful(self) -> bool:
        """Whether no view is read with confidence."""
        return len(self.views) == 1 and self.views[0].words()[1] < np.log(DOUBTFUL)

    def turn_around(self, crops: list[np.ndarray]) -> list[np.ndarray]:
        """Add the only view upside down, not read yet; and its crops, made of those of the view."""
        (view,) = self.views
        count = len(view.gaps.pieces)
        pieces = tuple((1 - right, 1 - left) for left, right in reversed(view.gaps.pieces))
        columns = Columns(view.columns.blank[::-1], view.columns.edges[::-1], view.columns.height)
        spans = [(count - 1 - last, count - 1 - first) for first, last in view.spans]
        self.views.append(View(np.roll(view.corners, 2, 0), columns, Gaps(pieces, view.gaps.spaces[::-1]), spans))
        return [crop[::-1, ::-1] for crop in crops]

    def choose(self) -> View:
        """The view that is read with most confidence; another than the first has two characters or more."""
        best = self.views[0]
        for view in self.views[1:]:
            longer = sum(len(view.readings[span].text) for span in view.words()[0]) > 1
            if longer and view.words()[1] > best.words()[1]:
                best = view
        return best


def view_lines(image: Image.Image, detection: Detection, find_spaces: SpaceFinder) -> list[LineViews]:
    """Cut the detected boxes out of a picture and find where their spaces may be.

    A box that is much taller than wide is seen upright as one word, and as a line that runs down, and one that runs up.
    Boxes without area, and those whose middle is outside the picture, are left out.
    """
    lines: list[list[tuple[Crop, float]]] = []
    for box in detection.boxes:
        if _area(box) < 1 or not _is_inside(box, image.size):
            continue
        width, height = side_lengths(box)
        turns = (0, -1, 1) if height > TALL * width else (0,)
        beside = BEYOND * min(width, height)
        crops = [rectify(image, lengthen(np.roll(box, turn, 0), beside)) for turn in turns]
        lines.append([(crop, beside / max(side_lengths(crop.corners)[0], 1.0)) for crop in crops])
    columns = iter(find_spaces([crop.image for crops in lines for crop, _ in crops]))
    found = []
    for turned in lines:
        views: list[View] = []
        for crop, outer in turned:
            own = next(columns)
            if len(turned) > 1 and not views:
                gaps = Gaps(((outer, 1 - outer),), ())
            else:
                gaps = keep_inner(find_gaps(own.blank, own.height), outer, 1 - outer)
            spans = possible_words(gaps, crop.image.width / crop.image.height)
            views.append(View(crop.corners, own, gaps, spans, crop.image))
        found.append(LineViews(views))
    return found


def _area(box: Float[np.ndarray, "4 2"]) -> float:
    """Square pixels; positive for corners that run clockwise as one looks at the picture, 0 for boxes not convex."""
    sides = np.roll(box, -1, 0) - box
    following = np.roll(sides, -1, 0)
    turns = sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0]
    x, y = box.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 if (turns > 0).all() else 0.0


def _is_inside(box: Float[np.ndarray, "4 2"], size: tuple[int, int]) -> bool:
    return bool((box.mean(0) >= 0).all() and (box.mean(0) < size).all())
