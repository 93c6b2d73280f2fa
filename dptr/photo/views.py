"""Detected boxes as straight lines, cut out for each direction in which their text may run, and split into words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from unicodedata import category

import numpy as np
from jaxtyping import Float
from PIL import Image

from dptr.inference.prediction import Prediction
from dptr.photo.detect import Detection
from dptr.photo.rectify import Crop, find_flaw, lengthen, rectify, side_lengths
from dptr.photo.spaces import Columns, SpaceFinder
from dptr.photo.split import (
    CERTAIN,
    LONGEST,
    Gaps,
    Span,
    choose_words,
    find_gaps,
    keep_inner,
    possible_words,
    split_reading,
    weigh_spaces,
)
from dptr.photo.strip import direction
from dptr.text.direction import LineDirection

BEYOND = 0.25  # share of a box's height by which it is extended at each end, since detectors cut letters off
TALL = 1.5  # text in boxes with a larger height / width may run up or down
DOUBTFUL = 0.5  # a line whose words have a lower mean confidence may be upside down
MARGIN = 0.06  # margin at each side of a word's crop, as a share of the line's height
TRIM = 0.04  # strip removed above and below a word's crop, as a share of the line's height


@dataclass
class View:
    """A line of text, cut out for one direction in which it may run. Candidate words are spans of pieces between gaps.

    Attributes:
        outline: of the line in the picture (``dptr.photo.rectify.Crop``).
        columns, gaps, spans: the results of ``SpaceFinder``, ``find_gaps``, and ``possible_words``.
        crops: the crop of each span, uint8 RGB, in a size that the recognizer reads.
        readings: of the spans that were read so far.
        line_crop: of the whole line, if it has several pieces, is not too long, and the recognizer reads spaces;
            otherwise None.
        line_reading: the reading of ``line_crop`` (``take_line``).
        line: how the recognizer orders a line with letters that run from right to left.
        recognizer: the name of the recognizer for the crops; "" if there is only one.
        likely_gaps: ``gaps``, with probabilities that combine the columns and ``line_reading``.
    """

    outline: Float[np.ndarray, "points 2"]
    columns: Columns
    gaps: Gaps
    spans: list[Span]
    crops: dict[Span, np.ndarray] = field(default_factory=dict)
    readings: dict[Span, Prediction] = field(default_factory=dict)
    line_crop: np.ndarray | None = None
    line_reading: Prediction | None = None
    line: LineDirection = "rtl"
    recognizer: str = ""
    likely_gaps: Gaps = field(init=False)

    def __post_init__(self) -> None:
        self.likely_gaps = self.gaps

    def turn_around(self) -> View:
        """The same line upside down, without readings."""
        last = len(self.gaps.pieces) - 1
        pieces = tuple((1 - right, 1 - left) for left, right in reversed(self.gaps.pieces))
        columns = Columns(self.columns.blank[::-1], self.columns.edges[::-1], self.columns.height)
        crops = {(last - end, last - begin): crop[::-1, ::-1] for (begin, end), crop in self.crops.items()}
        outline, gaps = np.roll(self.outline, len(self.outline) // 2, 0), Gaps(pieces, self.gaps.spaces[::-1])
        line_crop = None if self.line_crop is None else self.line_crop[::-1, ::-1]
        return View(
            outline, columns, gaps, list(crops), crops, line_crop=line_crop, line=self.line, recognizer=self.recognizer
        )

    def take_line(self, reading: Prediction) -> None:
        """Set the reading of ``line_crop``, and update the probabilities of the gaps with it."""
        self.line_reading = reading
        if reading.text.strip() and not reading.runaway:
            self.likely_gaps = weigh_spaces(self.gaps, self.columns, reading, self.line)

    def words_of_line(self) -> dict[Span, Prediction]:
        """The parts of the whole line's reading, one per word of the best split; empty if the numbers differ."""
        spans, _ = self.words()
        parts = [] if self.line_reading is None else split_reading(self.line_reading, self.line)
        return dict(zip(spans, parts, strict=True)) if len(parts) == len(spans) else {}

    def take_signs(self) -> None:
        """Add punctuation at the ends of words that the reading of the whole line has and the word's own reading lacks.

        Crops of words in training sets are often labeled without the period or the comma behind the word. The
        confidence does not change, since letters and digits are the same. Every word of the best split must have been
        read.
        """
        for span, in_line in self.words_of_line().items():
            reading = self.readings[span]
            letters = _without_signs(reading.text)
            has_more = letters and len(in_line.text) > len(reading.text) and not in_line.runaway
            if has_more and letters == _without_signs(in_line.text):
                self.readings[span] = replace(reading, text=in_line.text, characters=in_line.characters)

    def fix_words(self) -> None:
        """Keep the current best split, whatever is read later. Every word of it must have been read."""
        spans, _ = self.words()
        self.gaps = Gaps(tuple(self.gaps.bounds(span) for span in spans), (CERTAIN,) * (len(spans) - 1))
        self.likely_gaps, self.line_reading = self.gaps, None
        places = {span: (place, place) for place, span in enumerate(spans)}
        self.crops = {places[span]: self.crops[span] for span in spans}
        self.readings = {places[span]: self.readings[span] for span in spans}
        self.spans = list(self.crops)

    def unread(self) -> list[Span]:
        """The unread words of the best split, if unread words count with confidence 1.

        If there are none, the split is the best one whatever the other spans contain, since no confidence is above 1.
        """
        spans, _ = choose_words(self.likely_gaps, self._confidences())
        return [span for span in spans if span not in self.readings]

    def words(self) -> tuple[list[Span], float]:
        """The best split, and the mean log confidence, uncalibrated, of its words; every word must have been read."""
        confidences = self._confidences()
        spans, _ = choose_words(self.likely_gaps, confidences)
        return spans, float(np.mean([np.log(max(confidences[span], 1e-6)) for span in spans]))

    def text(self) -> str:
        """The words of the best split, joined by spaces; every word must have been read."""
        return " ".join(self.readings[span].text for span in self.words()[0])

    def confidence(self) -> float:
        """The geometric mean of the calibrated confidences of the best split's words; all must have been read."""
        readings = [self.readings[span] for span in self.words()[0]]
        confidences = [
            reading.confidence if reading.text.strip() and not reading.runaway else 0.0 for reading in readings
        ]
        return float(np.exp(np.mean(np.log(np.maximum(confidences, 1e-6)))))

    def _confidences(self) -> dict[Span, float]:
        """The uncalibrated confidence of each span: 1 if it is unread, 0 if its reading is blank or a runaway."""
        confidences = dict.fromkeys(self.spans, 1.0)
        for span, reading in self.readings.items():
            confidences[span] = reading.product if reading.text.strip() and not reading.runaway else 0.0
        return confidences


@dataclass
class LineViews:
    """The views of a detected box, one for each direction in which its text may run; the usual direction is the first.

    Attributes:
        turned: whether each line is included in both directions, so that ``turn_around`` would add nothing.
    """

    views: list[View]
    turned: bool = False

    def is_doubtful(self) -> bool:
        """Whether the mean confidence of the best view is below ``DOUBTFUL``, and the upside-down views are missing."""
        return not self.turned and self.choose().words()[1] < np.log(DOUBTFUL)

    def turn_around(self) -> list[View]:
        """Add each view upside down, and return the new views, which have no readings."""
        added = [view.turn_around() for view in self.views]
        self.views += added
        self.turned = True
        return added

    def choose(self) -> View:
        """The view with the highest confidence; one other than the first needs at least two characters."""
        best = self.views[0]
        for view in self.views[1:]:
            has_several_characters = sum(len(view.readings[span].text) for span in view.words()[0]) > 1
            if has_several_characters and view.words()[1] > best.words()[1]:
                best = view
        return best

    def fix_words(self) -> None:
        """Keep only the best view, and its best split."""
        self.views = [self.choose()]
        self.views[0].fix_words()

    def drop_other_curves(self) -> None:
        """For a curved line, keep only the best view.

        Rereading its unsure words lowers its confidence, but not that of the other views, so that one of them could
        win.
        """
        if any(len(view.outline) > 4 for view in self.views):
            self.views = [self.choose()]


@dataclass(frozen=True)
class LineCrop:
    """A detected box, cut out for one direction in which its text may run.

    Attributes:
        crop: the straightened line.
        beside: share of the crop's width at each end that lies beyond the box.
        upright: whether it is read as one word of letters that stand one below the other.
        columns: the result of ``SpaceFinder``.
    """

    crop: Crop
    beside: float
    upright: bool
    columns: Columns


@dataclass(frozen=True)
class CutLine:
    """A detected box, cut out for every direction in which its text may run; ``turned``: see ``LineViews``."""

    crops: tuple[LineCrop, ...]
    turned: bool


def cut_lines(image: Image.Image, detection: Detection, find_spaces: SpaceFinder) -> list[CutLine]:
    """Cut the detected boxes out of a picture, and find where they may have spaces.

    A box that is much taller than wide gives three crops: one word that stands upright, a line that runs down, and a
    line that runs up. Curved text is cut along each of its possible outlines. Boxes without area, and boxes whose
    center is outside the picture, are skipped.
    """
    lines: list[list[tuple[Crop, float, bool]]] = []
    both_ways: list[bool] = []
    for number, box in enumerate(detection.boxes):
        if find_flaw(box, image.size):
            continue
        outlines = detection.outlines.get(number, (box,))
        crops: list[tuple[Crop, float, bool]] = []
        for outline in outlines:
            beside = BEYOND * min(side_lengths(outline))
            rotations = _find_rotations(outline)
            for rotation in rotations:
                crop = rectify(image, lengthen(np.roll(outline, rotation, 0), beside))
                upright = len(rotations) > 1 and rotation == 0 and len(outline) == 4
                crops.append((crop, beside / max(side_lengths(crop.outline)[0], 1.0), upright))
        lines.append(crops)
        both_ways.append(all(len(_find_rotations(outline)) > 1 for outline in outlines))
    columns = iter(find_spaces([crop.image for crops in lines for crop, _, _ in crops]))
    return [
        CutLine(tuple(LineCrop(*crop, next(columns)) for crop in crops), turned)
        for crops, turned in zip(lines, both_ways, strict=True)
    ]


def view_line(
    cut: CutLine,
    fit: Callable[[Image.Image], np.ndarray],
    longest_line: float = 0.0,
    longest_word: float = LONGEST,
    line: LineDirection = "rtl",
    recognizer: str = "",
) -> LineViews:
    """The candidate words of a line, as crops for a recognizer, for every direction in which its text may run.

    Args:
        fit: resizes a picture to a crop that the recognizer reads.
        longest_line: width / height of the longest line that is also read as a whole; 0 = no line is.
        longest_word: width / height of the longest word of several pieces.
        line, recognizer: see ``View``.
    """
    views: list[View] = []
    for each in cut.crops:
        crop, columns, beside = each.crop, each.columns, each.beside
        if each.upright:
            gaps = Gaps(((beside, 1 - beside),), ())
        else:
            gaps = keep_inner(find_gaps(columns.blank, columns.height), beside, 1 - beside)
        spans = possible_words(gaps, crop.image.width / crop.image.height, longest_word)
        crops = {span: fit(_cut_word(crop.image, gaps.bounds(span))) for span in spans}
        line_bounds = gaps.bounds((0, len(gaps.pieces) - 1))
        is_read_whole = (
            len(gaps.pieces) > 1
            and (line_bounds[1] - line_bounds[0]) * crop.image.width <= longest_line * crop.image.height
        )
        line_crop = fit(_cut_word(crop.image, line_bounds)) if is_read_whole else None
        views.append(
            View(crop.outline, columns, gaps, spans, crops, line_crop=line_crop, line=line, recognizer=recognizer)
        )
    return LineViews(views, cut.turned)


def _without_signs(text: str) -> str:
    """The word without the punctuation and the symbols at its ends."""
    places = [place for place, character in enumerate(text) if category(character)[0] not in "PS"]
    return text[places[0] : places[-1] + 1] if places else ""


def _find_rotations(outline: Float[np.ndarray, "points 2"]) -> tuple[int, ...]:
    """The offsets to roll the points of an outline by, one for each direction in which its text may run.

    The text of a quadrilateral that is much taller than wide may stand upright, or run down or up. Curved text that is
    as steep on the whole may run either way.
    """
    if len(outline) == 4:
        width, height = side_lengths(outline)
        return (0, -1, 1) if height > TALL * width else (0,)
    x, y = np.abs(direction(outline))
    return (0, len(outline) // 2) if y > TALL * x else (0,)


def _cut_word(line: Image.Image, bounds: tuple[float, float]) -> Image.Image:
    """The crop of a word, with a margin; ``bounds`` are fractions of the line's width."""
    width, height = line.size
    margin, trim = MARGIN * height, int(TRIM * height)
    left, right = max(0, int(bounds[0] * width - margin)), min(width, int(np.ceil(bounds[1] * width + margin)))
    return line.crop((left, trim, max(right, left + 1), max(height - trim, trim + 1)))
