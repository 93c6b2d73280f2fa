"""What is read on a photograph or a page: lines, words and characters, each with its place.

Coordinates are pixels of the page as it is shown, after EXIF's orientation: x to the right, y down, from the top left
corner of the picture. All are frozen, can be compared and pickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from dptr.photo.overlay import draw_overlay
from dptr.utils.errors import UserError
from dptr.utils.images import Picture, open_image

LEAST_CONFIDENCE = 0.4  # of a word that ``dptr ocr`` shows; chosen on photographs (docs/evidence/photographs.md)
SCHEMA = 1  # of to_dict; raised when a key changes its meaning or goes

Point = tuple[float, float]
Outline = tuple[Point, ...]
"""2k points: k along the top as one reads, where the text begins to where it ends, and k back along the bottom."""

Box = tuple[Point, Point, Point, Point]
"""Four corners: where the text begins and ends at the top, then where it ends and begins at the bottom."""


@dataclass(frozen=True)
class Character:
    """One character; ``confidence`` is its own probability, 0 to 1."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True)
class Word:
    """Characters without white space between them.

    Attributes:
        text: as one writes it, also in scripts that run from right to left.
        confidence: 0 to 1, how likely the whole word is right.
        box: of curved text, the rectangle around its outline.
        characters: in the order of ``text``; empty where their places are not known.
        outline: of curved text; empty where the box is it.
        script, recognizer: of its line, as of ``dptr.inference.prediction.Prediction``.
        alone: what is read in its crop alone, where its line turns it (``dptr.photo.beside.read_in_line``); else empty.
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
    """Words beside each other.

    Attributes:
        words: in reading order, at least one.
        angle: of the writing, degrees clockwise from the horizontal, above -180 to 180.
        block: number of the column or paragraph, from 0; lines of one block follow each other.
        box, outline: as of a word.
    """

    words: tuple[Word, ...]
    box: Box
    angle: float = 0.0
    block: int = 0
    outline: Outline = ()

    @property
    def text(self) -> str:
        """The words, with a space between them."""
        return " ".join(word.text for word in self.words)

    @property
    def polygon(self) -> Outline:
        """The outline, or the box of straight text."""
        return self.outline or self.box


@dataclass(frozen=True)
class Page:
    """All that was read in one picture, or on one page of a file.

    Attributes:
        source: the path, the URL, or ``-``.
        number: of the page or frame in its file, from 1.
        width, height: in pixels.
        lines: in reading order; none if there is no text.
        notes: a sentence each on what may be wrong; mostly none.
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
        """A line of text for each line, an empty one between blocks."""
        parts = []
        for index, line in enumerate(self.lines):
            if index and line.block != self.lines[index - 1].block:
                parts.append("")
            parts.append(line.text)
        return "\n".join(parts)

    def overlay(self, picture: Picture | None = None) -> Image.Image:
        """The picture with a box around each word and its text above it.

        Args:
            picture: what was read, as ``dptr.utils.images.open_image`` takes it; None = ``source`` is opened again,
                which has to be a picture, and this page its first frame.

        Raises:
            UserError: it cannot be opened, or has another size than the page.
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
        """All of it as JSON holds it; coordinates to a hundredth of a pixel, probabilities to six digits."""
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
                    **_places(line),
                    "angle": round_angle(line.angle),
                    "block": line.block,
                    "words": [
                        {
                            **_spelled(word),
                            **({"script": word.script, "recognizer": word.recognizer} if word.script else {}),
                            "characters": [_spelled(character) for character in word.characters],
                        }
                        for word in line.words
                    ],
                }
                for line in self.lines
            ],
            "notes": list(self.notes),
        }


def round_angle(degrees: float, digits: int = 2) -> float:
    """An angle above -180 to 180; level and upright writing exactly, whatever floats leave."""
    rounded = round(degrees, digits)
    return 180.0 if rounded == -180 else rounded + 0.0


def _spelled(part: Word | Character) -> dict[str, Any]:
    return {"text": part.text, "confidence": float(f"{part.confidence:.6g}"), **_places(part)}


def _places(part: Line | Word | Character) -> dict[str, Any]:
    outline = () if isinstance(part, Character) else part.outline
    return {"box": _points(part.box), **({"outline": _points(outline)} if outline else {})}


def _points(outline: Outline) -> list[list[float]]:
    return [[round(x, 2), round(y, 2)] for x, y in outline]
