"""Detected boxes as straight crops, in each way that their text may run, split where spaces may be."""

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

BEYOND = 0.25  # of a box's height, that its line is cut longer on both sides: detectors cut letters off
TALL = 1.5  # height / width from which on text may run up or down
DOUBTFUL = 0.5  # mean confidence of a line's words below which it may be upside down
MARGIN = 0.06  # of the line's height, beside a word that is read
TRIM = 0.04  # of the line's height, above and below a word that is read


@dataclass
class View:
    """A line in one of the ways that its text may run.

    Attributes:
        outline: of the line in the picture (``dptr.photo.rectify.Crop``).
        columns, gaps, spans: what ``SpaceFinder``, ``find_gaps`` and ``possible_words`` say of it.
        crops: of each span, uint8 RGB, of a size that the recognizer reads.
        readings: of the spans that were read.
        line_crop: of the whole line, where it has several pieces and the recognizer reads spaces; else None.
        line_reading: of ``line_crop`` (``take_line``).
        line: how the recognizer reads a line with letters that run from right to left.
        recognizer: the name of what reads the crops; "" where there is one alone.
        likely_gaps: ``gaps``, as likely spaces as the columns and ``line_reading`` say.
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
        """The same line upside down, not read yet."""
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
        """Take the reading of ``line_crop``."""
        self.line_reading = reading
        if reading.text.strip() and not reading.runaway:
            self.likely_gaps = weigh_spaces(self.gaps, self.columns, reading, self.line)

    def words_of_line(self) -> dict[Span, Prediction]:
        """What the reading of the whole line holds for each word; nothing if it has another number of words."""
        spans, _ = self.words()
        found = [] if self.line_reading is None else split_reading(self.line_reading, self.line)
        return dict(zip(spans, found, strict=True)) if len(found) == len(spans) else {}

    def take_signs(self) -> None:
        """Let words have the signs at their ends that the whole line has and they lack; none is unread.

        Crops of words that recognizers learn from are often labeled without the period or the comma behind them. The
        confidence stays, for letters and digits are the same.
        """
        for span, in_line in self.words_of_line().items():
            own = self.readings[span]
            letters = _without_signs(own.text)
            more = letters and len(in_line.text) > len(own.text) and not in_line.runaway
            if more and letters == _without_signs(in_line.text):
                self.readings[span] = replace(own, text=in_line.text, characters=in_line.characters)

    def fix_words(self) -> None:
        """Keep the words as they are split now, whatever is read in them later; nothing is unread."""
        spans, _ = self.words()
        self.gaps = Gaps(tuple(self.gaps.bounds(span) for span in spans), (CERTAIN,) * (len(spans) - 1))
        self.likely_gaps, self.line_reading = self.gaps, None
        places = {span: (place, place) for place, span in enumerate(spans)}
        self.crops = {places[span]: self.crops[span] for span in spans}
        self.readings = {places[span]: self.readings[span] for span in spans}
        self.spans = list(self.crops)

    def unread(self) -> list[Span]:
        """The words of the best way to split the line that are not read yet, where these are taken for sure.

        Once there are none, the way is the best whatever the other spans hold: no reading is more than sure.
        """
        spans, _ = choose_words(self.likely_gaps, self._confidences())
        return [span for span in spans if span not in self.readings]

    def words(self) -> tuple[list[Span], float]:
        """The best way to split the line, and the mean of the logarithms of its words' confidences; none is unread."""
        confidences = self._confidences()
        spans, _ = choose_words(self.likely_gaps, confidences)
        return spans, float(np.mean([np.log(max(confidences[span], 1e-6)) for span in spans]))

    def text(self) -> str:
        """Its words; none is unread."""
        return " ".join(self.readings[span].text for span in self.words()[0])

    def confidence(self) -> float:
        """The mean of the calibrated confidences of its words, as of a product; none is unread."""
        own = [self.readings[span] for span in self.words()[0]]
        sure = [reading.confidence if reading.text.strip() and not reading.runaway else 0.0 for reading in own]
        return float(np.exp(np.mean(np.log(np.maximum(sure, 1e-6)))))

    def _confidences(self) -> dict[Span, float]:
        """Of each span; 1 of those that are not read yet."""
        confidences = dict.fromkeys(self.spans, 1.0)
        for span, reading in self.readings.items():
            confidences[span] = reading.product if reading.text.strip() and not reading.runaway else 0.0
        return confidences


@dataclass
class LineViews:
    """A detected box in all the ways that its text may run; the first is the usual one.

    Attributes:
        turned: whether each line is there both ways.
    """

    views: list[View]
    turned: bool = False

    def is_doubtful(self) -> bool:
        """Whether no view is read with confidence, and none was turned around."""
        return not self.turned and self.choose().words()[1] < np.log(DOUBTFUL)

    def turn_around(self) -> list[View]:
        """Add each view upside down, not read yet."""
        added = [view.turn_around() for view in self.views]
        self.views += added
        self.turned = True
        return added

    def choose(self) -> View:
        """The view that is read with most confidence; another than the first has two characters or more."""
        best = self.views[0]
        for view in self.views[1:]:
            longer = sum(len(view.readings[span].text) for span in view.words()[0]) > 1
            if longer and view.words()[1] > best.words()[1]:
                best = view
        return best

    def fix_words(self) -> None:
        """Keep only the best view, and its words as they are split now."""
        self.views = [self.choose()]
        self.views[0].fix_words()

    def drop_other_curves(self) -> None:
        """Keep only the best view of a curved line: to read it again lowers its confidence, and not that of others."""
        if any(len(view.outline) > 4 for view in self.views):
            self.views = [self.choose()]


@dataclass(frozen=True)
class LineCrop:
    """A detected box in one of the ways that its text may run.

    Attributes:
        crop: the line, straight.
        beside: share of its width on either side that lies beyond the box.
        upright: whether it is one word of letters one below the other.
        columns: what ``SpaceFinder`` says of it.
    """

    crop: Crop
    beside: float
    upright: bool
    columns: Columns


@dataclass(frozen=True)
class CutLine:
    """A detected box, cut out in all the ways that its text may run; ``turned`` as of ``LineViews``."""

    crops: tuple[LineCrop, ...]
    turned: bool


def cut_lines(image: Image.Image, detection: Detection, find_spaces: SpaceFinder) -> list[CutLine]:
    """Cut the detected boxes out of a picture and find where their spaces may be.

    A box that is much taller than wide is seen upright as one word, and as a line that runs down, and one that runs up.
    Curved text is seen along each of its outlines. Boxes without area, and those whose middle is outside the picture,
    are left out.
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
            turns = _turns(outline)
            for turn in turns:
                crop = rectify(image, lengthen(np.roll(outline, turn, 0), beside))
                upright = len(turns) > 1 and turn == 0 and len(outline) == 4
                crops.append((crop, beside / max(side_lengths(crop.outline)[0], 1.0), upright))
        lines.append(crops)
        both_ways.append(all(len(_turns(outline)) > 1 for outline in outlines))
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
    """The words of a line as a recognizer takes them, in all the ways that its text may run.

    Args:
        fit: to a crop that it reads.
        longest_line: width / height of the longest line that is read whole too; 0 = none is.
        longest_word: width / height of the longest word of several pieces.
        line, recognizer: see ``View``.
    """
    views: list[View] = []
    for each in cut.crops:
        crop, own, outer = each.crop, each.columns, each.beside
        if each.upright:
            gaps = Gaps(((outer, 1 - outer),), ())
        else:
            gaps = keep_inner(find_gaps(own.blank, own.height), outer, 1 - outer)
        spans = possible_words(gaps, crop.image.width / crop.image.height, longest_word)
        words = {span: fit(_cut(crop.image, gaps.bounds(span))) for span in spans}
        ends = gaps.bounds((0, len(gaps.pieces) - 1))
        whole = len(gaps.pieces) > 1 and (ends[1] - ends[0]) * crop.image.width <= longest_line * crop.image.height
        line_crop = fit(_cut(crop.image, ends)) if whole else None
        views.append(View(crop.outline, own, gaps, spans, words, line_crop=line_crop, line=line, recognizer=recognizer))
    return LineViews(views, cut.turned)


def _without_signs(text: str) -> str:
    """A word without the punctuation and symbols at its ends."""
    kept = [place for place, character in enumerate(text) if category(character)[0] not in "PS"]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def _turns(outline: Float[np.ndarray, "points 2"]) -> tuple[int, ...]:
    """By how many points to roll an outline, for each way that its text may run.

    A quadrilateral much taller than wide may be upright, or run down or up. A curved line that is as steep on the whole
    may run the other way too.
    """
    if len(outline) == 4:
        width, height = side_lengths(outline)
        return (0, -1, 1) if height > TALL * width else (0,)
    x, y = np.abs(direction(outline))
    return (0, len(outline) // 2) if y > TALL * x else (0,)


def _cut(line: Image.Image, bounds: tuple[float, float]) -> Image.Image:
    """The crop of a word, with a margin."""
    width, height = line.size
    margin, trim = MARGIN * height, int(TRIM * height)
    left, right = max(0, int(bounds[0] * width - margin)), min(width, int(np.ceil(bounds[1] * width + margin)))
    return line.crop((left, trim, max(right, left + 1), max(height - trim, trim + 1)))
