"""Make a page from read lines: choose the words, locate them and their characters, and sort them in reading order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import bidirectional

import numpy as np
from jaxtyping import Float

from dptr.inference.prediction import Prediction
from dptr.photo.align import align_characters
from dptr.photo.beside import join_unspaced, read_in_line
from dptr.photo.order import measure_angle, order_boxes
from dptr.photo.page import Box, Character, Line, Outline, Page, Word
from dptr.photo.rectify import locate
from dptr.photo.shapes import most_run_left, reverse, runs_left
from dptr.photo.strip import enclose
from dptr.photo.views import LineViews, View
from dptr.text.direction import LineDirection, logical_order, needs_reordering, to_visual, visual_order

_PLACEHOLDERS = {"R": "א", "AL": "א", "L": "a", "EN": "1", "AN": "1"}  # by bidirectional class, in order of precedence
INSET = 0.12  # margin above and below the text, as a share of the height of a detected box


@dataclass(frozen=True)
class _Part:
    """The words read in one detected box, from left to right; the box around them; and ``View.line``."""

    words: tuple[Word, ...]
    box: Float[np.ndarray, "4 2"]
    line: LineDirection


def assemble_page(source: str, number: int, size: tuple[int, int], lines: Sequence[LineViews]) -> Page:
    """Make the page of all words whose reading is not blank and fits the pattern and the lexicon, if there are any.

    Args:
        size: width and height of the picture, in pixels.
    """
    parts = [part for line in lines if (part := _read_part(line.choose())).words]
    boxes = np.array([part.box for part in parts]).reshape(-1, 4, 2)
    texts = [word.text for part in parts for word in part.words]
    leftward = most_run_left(texts)
    page_lines = []
    for row in order_boxes(boxes, leftward):
        row_parts = [parts[index] for index in (row.boxes[::-1] if leftward else row.boxes)]
        words = [word for part in row_parts for word in part.words]
        row_leftward = most_run_left([word.text for word in words], leftward)
        if row_leftward:
            words = _order_leftward(read_in_line(words, row_parts[0].line), row_parts[0].line)
        page_lines.append(make_line(tuple(words), measure_angle(row_parts[-1 if row_leftward else 0].box), row.block))
    return Page(source, number, *size, tuple(page_lines))


def _order_leftward(words: Sequence[Word], line: LineDirection) -> list[Word]:
    """Sort words of a line that runs from right to left, given from left to right, in reading order."""
    # The last one makes the line begin on the right, even if it consists of numbers.
    placeholders = [_placeholder(word.text) for word in words] + ["א"]
    places = logical_order(" ".join(placeholders), line)
    return [words[place // 2] for place in places if place % 2 == 0 and place // 2 < len(words)]


def _placeholder(text: str) -> str:
    """A character with the direction of a word."""
    kinds = set(map(bidirectional, text))
    return next((character for kind, character in _PLACEHOLDERS.items() if kind in kinds), "-")


def _read_part(view: View) -> _Part:
    spans, _ = view.words()
    readings = [(view.gaps.bounds(span), view.readings[span]) for span in spans]
    usable = [(bounds, reading) for bounds, reading in readings if reading.text.strip() and reading.fits]
    usable = join_unspaced(view, usable)
    words = tuple(word for (left, right), reading in usable for word in _make_words(view, reading, left, right))
    if not words:
        return _Part((), enclose(view.outline), view.line)
    return _Part(words, enclose(np.array(_locate_range(view, usable[0][0][0], usable[-1][0][1]))), view.line)


def _make_words(view: View, reading: Prediction, left: float, right: float) -> list[Word]:
    """The words of a reading between two places of a line, from left to right; several words if the reading has spaces.

    Words without right-to-left letters are spelled as they appear from left to right; ``read_in_line`` reorders them.
    """
    text = reading.text.strip()
    skipped = len(reading.text) - len(reading.text.lstrip())
    probabilities = [probability for _, probability in reading.characters][skipped : skipped + len(text)]
    leftward = runs_left(text)
    order, visual_text = visual_order(text, view.line), to_visual(text, line=view.line)
    ranks = {place: rank for rank, place in enumerate(order)}
    visual_spots = align_characters("".join(text[place] for place in order), view.columns, left, right)
    spots = [spot for _, spot in sorted(zip(order, visual_spots, strict=True))]
    words: list[tuple[float, Word]] = []
    start = 0
    pieces = text.split(" ")
    for piece in pieces:
        end = start + len(piece)
        if piece:
            places = [*range(start, end)]
            if not needs_reordering(piece):
                places.sort(key=lambda place: ranks[place])
                piece = "".join(visual_text[ranks[place]] for place in places)
            piece_spots = [spots[place] for place in places]
            pairs = tuple((character, probabilities[place]) for character, place in zip(piece, places, strict=True))
            confidence = reading.confidence if len(pieces) == 1 else reading.part(pairs).confidence
            characters = tuple(
                Character(character, probability, _end_corners(_locate_range(view, spot[0], spot[1], leftward)))
                for (character, probability), spot in zip(pairs, piece_spots, strict=True)
            )
            extent = min(spot[0] for spot in piece_spots), max(spot[1] for spot in piece_spots)
            outline = _locate_range(view, *extent, leftward)
            curved = outline if len(outline) > 4 else ()
            origin = reading.script, reading.recognizer
            words.append((extent[0], Word(piece, confidence, _enclose(outline), characters, curved, *origin)))
        start = end + 1
    return [word for _, word in sorted(words, key=lambda each: each[0])]


def _locate_range(view: View, left: float, right: float, leftward: bool = False) -> Outline:
    """The outline in the picture of a range of a line."""
    outline = locate(view.outline, left, INSET, right, 1 - INSET)
    return reverse(outline) if leftward else outline


def _end_corners(outline: Outline) -> Box:
    """The four corners of an outline: the ends of its top, then the ends of its bottom."""
    half = len(outline) // 2
    return outline[0], outline[half - 1], outline[half], outline[-1]


def make_line(words: tuple[Word, ...], angle: float, block: int) -> Line:
    """Make a line of words in reading order; its box reaches from the start of the first word to the end of the last.

    Args:
        angle, block: see ``Line``.
    """
    polygons = _align_starts([word.polygon for word in words])
    if not any(word.outline for word in words):
        first, last = polygons[0], polygons[-1]
        return Line(words, (first[0], last[1], last[2], first[3]), angle, block)
    halves = [(polygon, len(polygon) // 2) for polygon in polygons]
    top = [point for polygon, half in halves for point in polygon[:half]]
    bottom = [point for polygon, half in reversed(halves) for point in polygon[half:]]
    outline = (*top, *bottom)
    return Line(words, _enclose(outline), angle, block, outline)


def _align_starts(polygons: Sequence[Outline]) -> list[Outline]:
    """The polygons of consecutive words, all starting on the side where the line starts.

    A number in a line that runs from right to left starts on the other side, so its polygon is reversed.
    """
    if len(polygons) < 2:
        return [*polygons]
    centers = np.array([np.mean(polygon, 0) for polygon in polygons])
    steps = np.diff(centers, axis=0, append=2 * centers[-1:] - centers[-2:-1])
    aligned = []
    for polygon, step in zip(polygons, steps, strict=True):
        begin, end = np.array(polygon[0]), np.array(polygon[len(polygon) // 2 - 1])
        aligned.append(reverse(polygon) if (end - begin) @ step < 0 else polygon)
    return aligned


def _enclose(outline: Outline) -> Box:
    a, b, c, d = ((x, y) for x, y in enclose(np.array(outline)).tolist())
    return a, b, c, d
