"""The result of reading a photograph or a page: lines, words, and characters, with their positions.

Coordinates are pixels of the page as it is shown, after its EXIF orientation was applied: x to the right, y down, from
the top left corner of the picture. The classes are frozen dataclasses, and can be compared and pickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from dptr.photo.overlay import draw_overlay
from dptr.utils.errors import UserError
from dptr.utils.images import Picture, open_image

LEAST_CONFIDENCE = 0.4  # ``dptr ocr`` omits less confident words; chosen on photographs (docs/evidence/photographs.md)
SCHEMA = 1  # version of ``Page.to_dict``; increased when a key changes its meaning or is removed

Point = tuple[float, float]
Outline = tuple[Point, ...]
"""2k points: k along the top of the text, from its start to its end as one reads, then k back along its bottom."""

Box = tuple[Point, Point, Point, Point]
"""Four corners: the start and the end of the text's top, as one reads, then the end and the start of its bottom."""


@dataclass(frozen=True)
class Character:
    """One character; ``confidence`` is its probability, 0 to 1."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True)
class Word:
    """Characters without white space between them.

    Attributes:
        text: in the order of writing, also in scripts that run from right to left.
        confidence: 0 to 1, the probability that the whole word is right.
        box: of curved text, the rectangle around its outline.
        characters: in the order of ``text``; empty if their positions are unknown.
        outline: of curved text; empty if the text is straight.
        script, recognizer: of the line, as in ``dptr.inference.prediction.Prediction``.
        alone: the reading of the word's crop alone, if the direction of its line changed it
            (``dptr.photo.beside.read_in_line``); otherwise empty.
    """

    text: str
    confidence: float
    box: Box
    characters: tuple[Character, ...] = ()
    outline: Outline = ()
    script: str = ""
    recognizer: str = ""
    alone: str = ""

    @property
    def polygon(self) -> Outline:
        """The outline, or the box of straight text."""
        return self.outline or self.box


@dataclass(frozen=True)
class Line:
    """Words that stand next to each other.

    Attributes:
        words: in reading order, at least one.
        angle: of the writing, in degrees clockwise from the horizontal, greater than -180 and at most 180.
        block: number of the column or paragraph, from 0; the lines of a block are consecutive.
        box, outline: as in ``Word``.
    """

    words: tuple[Word, ...]
    box: Box
    angle: float = 0.0
    block: int = 0
    outline: Outline = ()

    @property
    def text(self) -> str:
        """The words, joined by spaces."""
        return " ".join(word.text for word in self.words)

    @property
    def polygon(self) -> Outline:
        """The outline, or the box of straight text."""
        return self.outline or self.box


@dataclass(frozen=True)
class Page:
    """The text of one picture, or of one page of a file.

    Attributes:
        source: the path, the URL, or ``-`` for standard input.
        number: of the page or frame in its file, from 1.
        width, height: in pixels.
        lines: in reading order; empty if there is no text.
        notes: sentences on what may be wrong with the result; usually empty.
    """

    source: str
    number: int
    width: int
    height: int
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all lines, in reading order."""
        return tuple(word for line in self.lines for word in line.words)

    @property
    def text(self) -> str:
        """The lines, one per line of text, with an empty line between blocks."""
        parts = []
        for index, line in enumerate(self.lines):
            if index and line.block != self.lines[index - 1].block:
                parts.append("")
            parts.append(line.text)
        return "\n".join(parts)

    def overlay(self, picture: Picture | None = None) -> Image.Image:
        """Draw a box around each word on a copy of the picture, with the text of the word above the box.

        Args:
            picture: the picture that was read, in any form that ``dptr.utils.images.open_image`` takes. If None,
                ``source`` is opened again; it has to be a picture file, and this page its first frame.

        Raises:
            UserError: the picture cannot be opened, or its size differs from that of the page.
        """
        if picture is None and self.number > 1:
            raise UserError(f"{self.source}: page {self.number} of several; pass the picture that was read")
        image = open_image(self.source if picture is None else picture)
        if image.size != (self.width, self.height):
            raise UserError(
                f"picture of {image.width}x{image.height} pixels: the page has {self.width}x{self.height}; pass the "
                "picture that was read"
            )
        return draw_overlay(self.words, image)

    def to_dict(self) -> dict[str, Any]:
        """The page as a dictionary for JSON; coordinates are rounded to 0.01 pixels, probabilities to six significant
        digits."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "page": self.number,
            "width": self.width,
            "height": self.height,
            "text": self.text,
            "lines": [
                {
                    "text": line.text,
                    **_shape_to_dict(line),
                    "angle": round_angle(line.angle),
                    "block": line.block,
                    "words": [
                        {
                            **_text_to_dict(word),
                            **({"script": word.script, "recognizer": word.recognizer} if word.script else {}),
                            "characters": [_text_to_dict(character) for character in word.characters],
                        }
                        for word in line.words
                    ],
                }
                for line in self.lines
            ],
            "notes": list(self.notes),
        }


def round_angle(degrees: float, digits: int = 2) -> float:
    """Round an angle and keep it greater than -180 and at most 180; -180 becomes 180, and -0.0 becomes 0.0."""
    rounded = round(degrees, digits)
    return 180.0 if rounded == -180 else rounded + 0.0


def _text_to_dict(part: Word | Character) -> dict[str, Any]:
    return {"text": part.text, "confidence": float(f"{part.confidence:.6g}"), **_shape_to_dict(part)}


def _shape_to_dict(part: Line | Word | Character) -> dict[str, Any]:
    outline = () if isinstance(part, Character) else part.outline
    return {"box": _round_points(part.box), **({"outline": _round_points(outline)} if outline else {})}


def _round_points(outline: Outline) -> list[list[float]]:
    return [[round(x, 2), round(y, 2)] for x, y in outline]
