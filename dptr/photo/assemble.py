"""Read views to a page: which words count, where they and their characters stand, and in which order they are read."""

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

_STANDS_FOR = {"R": "א", "AL": "א", "L": "a", "EN": "1", "AN": "1"}  # by the first class that a word has
INSET = 0.12  # of the height of a detected box, which is grown to be read, above and below the text


@dataclass(frozen=True)
class _Part:
    """The words read in one detected box, from left to right, the box around them, and ``View.line``."""

    words: tuple[Word, ...]
    box: Float[np.ndarray, "4 2"]
    line: LineDirection


def assemble_page(source: str, number: int, size: tuple[int, int], lines: Sequence[LineViews]) -> Page:
    """The page of all words in which something was read that fits the pattern and the lexicon, if there are such.

    Args:
        size: width and height of the picture, in pixels.
    """
    parts = [part for line in lines if (part := _read_part(line.choose())).words]
    boxes = np.array([part.box for part in parts]).reshape(-1, 4, 2)
    texts = [word.text for part in parts for word in part.words]
    leftward = most_run_left(texts)
    ordered = []
    for row in order_boxes(boxes, leftward):
        own = [parts[index] for index in (row.boxes[::-1] if leftward else row.boxes)]
        words = [word for part in own for word in part.words]
        row_leftward = most_run_left([word.text for word in words], leftward)
        if row_leftward:
            words = _order_leftward(read_in_line(words, own[0].line), own[0].line)
        ordered.append(make_line(tuple(words), measure_angle(own[-1 if row_leftward else 0].box), row.block))
    return Page(source, number, *size, tuple(ordered))


def _order_leftward(words: Sequence[Word], line: LineDirection) -> list[Word]:
    """Words from left to right, of a line that runs from right to left, in the order in which they are read."""
    shown = [_stand_for(word.text) for word in words] + ["א"]  # the line begins on the right, also one of numbers
    places = logical_order(" ".join(shown), line)
    return [words[place // 2] for place in places if place % 2 == 0 and place // 2 < len(words)]


def _stand_for(text: str) -> str:
    """A character of the direction of a word."""
    kinds = set(map(bidirectional, text))
    return next((character for kind, character in _STANDS_FOR.items() if kind in kinds), "-")


def _read_part(view: View) -> _Part:
    spans, _ = view.words()
    readings = [(view.gaps.bounds(span), view.readings[span]) for span in spans]
    read = [(bounds, reading) for bounds, reading in readings if reading.text.strip() and reading.fits]
    read = join_unspaced(view, read)
    words = tuple(word for (left, right), reading in read for word in _words(view, reading, left, right))
    if not words:
        return _Part((), enclose(view.outline), view.line)
    return _Part(words, enclose(np.array(_place(view, read[0][0][0], read[-1][0][1]))), view.line)


def _words(view: View, reading: Prediction, left: float, right: float) -> list[Word]:
    """The words that were read between two places of a line, from left to right; several if the reading has spaces.

    Words without leftward letters are spelled as they stand; their line says how they are read (``read_in_line``).
    """
    text = reading.text.strip()
    lead = len(reading.text) - len(reading.text.lstrip())
    probabilities = [probability for _, probability in reading.characters][lead : lead + len(text)]
    leftward = runs_left(text)
    order, shown = visual_order(text, view.line), to_visual(text, line=view.line)
    ranks = {place: rank for rank, place in enumerate(order)}
    aligned = align_characters("".join(text[place] for place in order), view.columns, left, right)
    spots = [spot for _, spot in sorted(zip(order, aligned, strict=True))]
    words: list[tuple[float, Word]] = []
    start = 0
    pieces = text.split(" ")
    for piece in pieces:
        end = start + len(piece)
        if piece:
            places = [*range(start, end)]
            if not needs_reordering(piece):
                places.sort(key=lambda place: ranks[place])
                piece = "".join(shown[ranks[place]] for place in places)
            own = [spots[place] for place in places]
            pairs = tuple((character, probabilities[place]) for character, place in zip(piece, places, strict=True))
            confidence = reading.confidence if len(pieces) == 1 else reading.part(pairs).confidence
            characters = tuple(
                Character(character, probability, _corners(_place(view, spot[0], spot[1], leftward)))
                for (character, probability), spot in zip(pairs, own, strict=True)
            )
            ends = min(spot[0] for spot in own), max(spot[1] for spot in own)
            outline = _place(view, *ends, leftward)
            curved = outline if len(outline) > 4 else ()
            whose = reading.script, reading.recognizer
            words.append((ends[0], Word(piece, confidence, _enclose(outline), characters, curved, *whose)))
        start = end + 1
    return [word for _, word in sorted(words, key=lambda each: each[0])]


def _place(view: View, left: float, right: float, leftward: bool = False) -> Outline:
    """A stretch of a line in the picture."""
    outline = locate(view.outline, left, INSET, right, 1 - INSET)
    return reverse(outline) if leftward else outline


def _corners(outline: Outline) -> Box:
    """Where an outline begins and ends."""
    half = len(outline) // 2
    return outline[0], outline[half - 1], outline[half], outline[-1]


def make_line(words: tuple[Word, ...], angle: float, block: int) -> Line:
    """A line of words in reading order, from where the first begins to where the last ends.

    Args:
        angle, block: as of ``Line``.
    """
    polygons = _align_directions([word.polygon for word in words])
    if not any(word.outline for word in words):
        first, last = polygons[0], polygons[-1]
        return Line(words, (first[0], last[1], last[2], first[3]), angle, block)
    halves = [(polygon, len(polygon) // 2) for polygon in polygons]
    top = [point for polygon, half in halves for point in polygon[:half]]
    bottom = [point for polygon, half in reversed(halves) for point in polygon[half:]]
    outline = (*top, *bottom)
    return Line(words, _enclose(outline), angle, block, outline)


def _align_directions(polygons: Sequence[Outline]) -> list[Outline]:
    """The polygons of words that follow each other, all beginning on the side from which the line comes: a number in a
    line that runs from right to left begins on the other."""
    if len(polygons) < 2:
        return [*polygons]
    middles = np.array([np.mean(polygon, 0) for polygon in polygons])
    ways = np.diff(middles, axis=0, append=2 * middles[-1:] - middles[-2:-1])
    turned = []
    for polygon, way in zip(polygons, ways, strict=True):
        begin, end = np.array(polygon[0]), np.array(polygon[len(polygon) // 2 - 1])
        turned.append(reverse(polygon) if (end - begin) @ way < 0 else polygon)
    return turned


def _enclose(outline: Outline) -> Box:
    a, b, c, d = ((x, y) for x, y in enclose(np.array(outline)).tolist())
    return a, b, c, d
