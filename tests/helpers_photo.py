"""Pages, PDFs, and a reader that needs no model, for the tests of photographs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from dptr.photo.page import Box, Character, Line, Page, Word
from dptr.utils.errors import UserError

PHOTOGRAPH = Path(__file__).resolve().parent / "golden" / "photograph.jpg"  # tests/golden/make.py draws it
PHOTOGRAPHED = "Fresh bread\nopen daily\nfrom nine"


def box(left: float, top: float, right: float, bottom: float) -> Box:
    """An upright one, of writing that runs to the right."""
    return (left, top), (right, top), (right, bottom), (left, bottom)


def mirror(place: Box, width: float) -> Box:
    """The box as far from the right side of a picture as it was from the left, beginning at the right."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = place
    return (width - x0, y0), (width - x1, y1), (width - x2, y2), (width - x3, y3)


def word(text: str, place: Box, confidence: float = 0.9, spelled: bool = True) -> Word:
    """A word whose characters share its box in equal parts."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = place
    characters = []
    for index, character in enumerate(text if spelled else ""):
        begin, end = index / len(text), (index + 1) / len(text)
        corners = [
            (a + (b - a) * share, c + (d - c) * share)
            for a, b, c, d, share in (
                *((x0, x1, y0, y1, begin), (x0, x1, y0, y1, end)),
                *((x3, x2, y3, y2, end), (x3, x2, y3, y2, begin)),
            )
        ]
        characters.append(Character(character, confidence, tuple(corners)))  # type: ignore[arg-type]
    return Word(text, confidence, place, tuple(characters))


def page(*texts: str, source: str = "scan.png", number: int = 1, width: int = 600, height: int = 400) -> Page:
    """A line for each text, its words 10 pixels a character wide and 20 high; an empty text begins a new block.

    Hebrew and Arabic begin at the right.
    """
    lines, block = [], 0
    for row, text in enumerate(texts):
        if not text:
            block += 1
            continue
        top, x, words = 10 + 30 * row, 20, []
        right_to_left = "\u0590" < text[0] < "\u0700"
        for each in text.split():
            place = box(x, top, x + 10 * len(each), top + 20)
            words.append(word(each, mirror(place, width) if right_to_left else place))
            x += 10 * len(each) + 8
        around = box(20, top, x - 8, top + 20)
        lines.append(Line(tuple(words), mirror(around, width) if right_to_left else around, 0.0, block))
    return Page(source, number, width, height, tuple(lines))


class FakeOCR:
    """Reads the color of the top left pixel: a page that says it, or nothing on white; takes pictures ahead."""

    def __init__(
        self, model: str = "", device: str = "cpu", batch_size: int = 64, detector: object = "", charset: str = "",
        pattern: str = "", lexicon: str | None = None,
    ) -> None:  # fmt: skip
        self.reader = SimpleNamespace(device=device)
        self.detector = detector
        self.ahead = 3

    def stream(self, pictures: Iterable[tuple[str, int, Image.Image | UserError]]) -> Iterator[Page | UserError]:
        taken: list[tuple[str, int, Image.Image | UserError]] = []
        for each in pictures:
            taken.append(each)
            if len(taken) > self.ahead:
                yield self._read(*taken.pop(0))
        for each in taken:
            yield self._read(*each)

    def _read(self, source: str, number: int, picture: Image.Image | UserError) -> Page | UserError:
        if isinstance(picture, UserError):
            return picture
        red, green, blue = picture.getpixel((0, 0))  # type: ignore[misc]
        if callable(self.detector):
            corners = self.detector(picture).boxes
            texts = [Line((Word("given", 0.5, tuple(map(tuple, each))),), tuple(map(tuple, each))) for each in corners]
            return Page(source, number, *picture.size, tuple(texts))
        if (red, green, blue) == (255, 255, 255):
            return Page(source, number, *picture.size)
        text = f"red {red}", f"page {number}"
        return page(*text, source=source, number=number, width=picture.width, height=picture.height)


def picture(path: Path, *reds: int, size: tuple[int, int] = (120, 80)) -> Path:
    """A picture file of one frame for each red value."""
    frames = [Image.new("RGB", size, (red, 0, 0)) for red in reds]
    frames[0].save(path, **({"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}))
    return path


def make_pdf(
    pages: Sequence[str], rotate: int = 0, box: str = "0 0 300 200", crop: str = "", encrypted: bool = False
) -> bytes:
    """A PDF written by hand: for each page its content stream, with Helvetica as /F1."""
    count = len(pages)
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {count} /Kids [{' '.join(f'{4 + 2 * index} 0 R' for index in range(count))}] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for index, content in enumerate(pages):
        extra = f" /Rotate {rotate}" + (f" /CropBox [{crop}]" if crop else "")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}]{extra} /Contents {5 + 2 * index} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    trailer = f"/Size {len(objects) + 1} /Root 1 0 R"
    if encrypted:  # for the password that nobody knows
        junk = "00" * 32
        trailer += f" /ID [<{junk}> <{junk}>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{junk}> /U <{junk}> >>"
    data, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{each}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = f"trailer\n<< {trailer} >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


def show(text: str, x: float, y: float, size: float = 20, matrix: str = "") -> str:
    """The operators that write a text, its base line beginning at a point; ``matrix`` are the first four of Tm."""
    return f"BT /F1 {size} Tf {matrix or '1 0 0 1'} {x} {y} Tm ({text}) Tj ET"


def ring_outline(
    center: tuple[float, float], radius: float, height: float, span: float, up: bool, count: int
) -> np.ndarray:
    """(2 count, 2): the outline of a text along a circle: an arch (``up``) or a bowl, over ``span`` degrees."""
    sign = 1 if up else -1
    turn = np.radians(np.linspace(-span / 2, span / 2, count))
    rays = np.stack((np.sin(turn), -sign * np.cos(turn)), 1)
    return np.concatenate(((radius + sign * height / 2) * rays, ((radius - sign * height / 2) * rays)[::-1])) + center


def bend_picture(
    straight: Image.Image, size: tuple[int, int], center: tuple[float, float], radius: float, up: bool
) -> Image.Image:
    """A straight line bent along a circle on white, pixel by pixel, to the nearest of nine times as many."""
    sign = 1 if up else -1
    x, y = np.meshgrid(np.arange(size[0]) + 0.5 - center[0], np.arange(size[1]) + 0.5 - center[1])
    along = radius * np.arctan2(x, -sign * y) + straight.width / 2
    across = sign * (radius - np.hypot(x, y)) + straight.height / 2
    fine = np.asarray(straight.resize((3 * straight.width, 3 * straight.height), Image.Resampling.BILINEAR))
    column, row = (3 * along).astype(int), (3 * across).astype(int)
    inside = (along >= 0) & (across >= 0) & (column < fine.shape[1]) & (row < fine.shape[0])
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    pixels[inside] = fine[row[inside], column[inside]]
    return Image.fromarray(pixels)
