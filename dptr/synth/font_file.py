"""Looking into a font file: which characters each face draws, what it looks like, or why it is of no use.

A file tells which characters it maps (its cmap), but not whether it draws them well. So each face is drawn once:
characters without ink are struck off, and so are lower-case letters that are drawn as capitals, because such a crop
would teach a wrong label, and marks that stand beside their letter instead of above or below it.
"""

from __future__ import annotations

import logging
import re
import statistics
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from fontTools.ttLib import TTCollection, TTFont
from PIL import Image, ImageDraw, ImageFont, features

logging.getLogger("fontTools").setLevel(logging.ERROR)  # it reports every oddity of every font

SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}

# Reasons why a face is left out.
BROKEN = "broken file"
FORMAT = "not a TrueType or OpenType file"
BITMAP = "bitmaps only"
COLOR = "color or emoji font"
SYMBOL = "symbol, barcode, icon or mathematics font"
FEW = "fewer than 10 letters and digits"

_SYMBOL_NAMES = re.compile(
    r"symbol|dingbat|emoji|awesome|\bicons?\b|glyphicon|webding|wingding|barcode|code ?(39|93|128)|\bean|\bmath|"
    r"music|chess|braille|keyboard|initials|ornament|last ?resort|blank|mahjong|domino|marlett|quran colored|"
    r"hieroglyph|^(cm(ex|mi|sy|r|bx|ti|tt)|msam|msbm|wasy|rsfs|stmary|esint|eufm|dsrom|bbm|dseg)\d*",
    re.IGNORECASE,
)

_CHECK_SIZE = 32  # pixels an em, for looking at glyphs
# Scripts of thousands of glyphs: Han, Hangul syllables and the planes above. Each is taken as drawn where some of its
# characters are; a font that maps Han and draws none of it (NanumSquare) is looked at glyph by glyph.
_LARGE = ((0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0x17000, 0x18CFF), (0x20000, 0x3FFFF))
_SAMPLE = 32
_LOOSE = 0.3  # of a usual letter's width, which a mark adds; so do at most 57 % of a script's marks in fonts with rules


@dataclass(frozen=True)
class Font:
    """One face: ``coverage`` holds the characters it can be trusted to draw, as inclusive ranges of code points."""

    path: str
    number: int  # of the face in its file (collections hold several)
    family: str
    style: str
    weight: int  # of the strokes: 100 hairline, 400 regular, 700 bold, 900 black (OpenType usWeightClass)
    traits: tuple[str, ...]  # of "sans", "italic", "mono"
    coverage: tuple[tuple[int, int], ...]

    def __contains__(self, character: str) -> bool:
        return inside(ord(character), self.coverage)

    @property
    def group(self) -> str:
        """The family for weighing and for the held-out split: two words of its name (all of "Noto Sans" is one)."""
        return " ".join(self.family.split()[:2])


def inside(code: int, ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether a code point is in one of the inclusive ranges."""
    return any(first <= code <= last for first, last in ranges)


def inspect_font_file(path: Path, named: bool = False) -> list[Font | str]:
    """Each face of a file: a Font, or the reason why it is left out.

    ``named``: the user named this very file; that it is a font of symbols (by its name, or by what it says of itself:
    the segments of meters, say) is then no reason.
    """
    if path.suffix.lower() not in SUFFIXES:
        return [FORMAT]
    try:
        if path.suffix.lower() in {".ttc", ".otc"}:
            with TTCollection(str(path), lazy=True) as collection:
                return [_face(path, number, font, named) for number, font in enumerate(collection.fonts)]
        with TTFont(str(path), lazy=True) as font:
            return [_face(path, 0, font, named)]
    except Exception:  # fontTools raises whatever a damaged table makes its parsers raise
        return [BROKEN]


def _face(path: Path, number: int, font: Any, named: bool) -> Font | str:
    names = font["name"]
    family = names.getDebugName(16) or names.getDebugName(1) or path.stem
    style = names.getDebugName(17) or names.getDebugName(2) or "Regular"
    if any(table in font for table in ("CBDT", "sbix", "SVG ", "COLR")):
        return COLOR
    if not any(table in font for table in ("glyf", "CFF ", "CFF2")):
        return BITMAP
    cmap = font.getBestCmap()
    pictorial = "OS/2" in font and (font["OS/2"].panose.bFamilyType == 5 or font["OS/2"].sFamilyClass >> 8 == 12)
    pictorial = pictorial or _SYMBOL_NAMES.search(family) or _SYMBOL_NAMES.search(path.stem)
    if not cmap or (pictorial and not named):
        return SYMBOL
    try:
        face = ImageFont.truetype(str(path), _CHECK_SIZE, index=number, layout_engine=ImageFont.Layout.BASIC)
        codes = _drawn(face, sorted(cmap))
        codes = _without_loose_marks(str(path), number, codes)
        traits = _traits(face, style, set(codes))
    except (OSError, ValueError):
        return BROKEN
    if sum(unicodedata.category(chr(code))[0] in "LN" for code in codes) < 10:
        return FEW
    weight = int(font["OS/2"].usWeightClass) if "OS/2" in font else 400
    return Font(str(path), number, family.strip() or path.stem, style, weight, traits, _ranges(codes))


def _drawn(face: ImageFont.FreeTypeFont, codes: Sequence[int]) -> list[int]:
    """The characters that have ink, less lower-case letters that are drawn as capitals."""
    visible = [code for code in codes if unicodedata.category(chr(code))[0] not in "ZC"]
    trusted: set[int] = set()
    for first, last in _LARGE:
        codes_of_script = [code for code in visible if first <= code <= last]
        sample = codes_of_script[:: len(codes_of_script) // _SAMPLE | 1]
        if all(_has_ink(face, chr(code)) for code in sample):
            trusted.update(codes_of_script)
    usable = [code for code in visible if code in trusted or _has_ink(face, chr(code))]
    if _draws_capitals(face, set(usable)):
        usable = [code for code in usable if unicodedata.category(chr(code)) != "Ll"]
    return usable


def _without_loose_marks(path: str, number: int, codes: Sequence[int]) -> list[int]:
    """The characters, less the nonspacing marks of scripts for which the font has no rules: it sets them as letters.

    Such a script (Bengali in MitraMono) is one of which most marks take room of their own after any letter; in fonts
    with rules a few may (Tamil's II). Only where raqm is at hand, which alone draws scripts with such marks.
    """
    marks = [code for code in codes if code > 0x36F and unicodedata.category(chr(code)) == "Mn"]
    if not marks or not features.check("raqm"):
        return list(codes)
    letters: dict[str, list[str]] = {}
    for code in codes:
        if unicodedata.category(chr(code)) == "Lo":
            letters.setdefault(_script(code), []).append(chr(code))
    face = ImageFont.truetype(path, _CHECK_SIZE, index=number, layout_engine=ImageFont.Layout.RAQM)
    apart: dict[str, list[bool]] = {}
    for code in marks:
        script = _script(code)
        if held := letters.get(script):
            some = held[:: len(held) // 6 | 1]  # not all letters take marks
            widths = [face.getlength(letter) for letter in some]
            room = min(face.getlength(letter + chr(code)) - width for letter, width in zip(some, widths, strict=True))
            wide = room > _LOOSE * statistics.median(widths)
            apart.setdefault(script, []).append(wide)
    ruleless = {script for script, wide in apart.items() if sum(wide) > 0.75 * len(wide)}
    struck = {code for code in marks if _script(code) in ruleless}
    return [code for code in codes if code not in struck]


def _script(code: int) -> str:
    return unicodedata.name(chr(code), "").partition(" ")[0]


def _has_ink(face: ImageFont.FreeTypeFont, character: str) -> bool:
    left, top, right, bottom = face.getbbox(character)
    # a blank has no height; FreeType fails to draw monsters such as some fonts' U+FDFD, a whole sentence in one glyph
    return bottom > top and right - left < 6 * _CHECK_SIZE and bottom - top < 6 * _CHECK_SIZE


def _draws_capitals(face: ImageFont.FreeTypeFont, codes: set[int]) -> bool:
    """Whether lower-case letters are drawn as capitals, of the same size or smaller.

    Either most have the shape of their capitals (stretched to a square, half the pairs overlap by more than 0.66;
    fonts seen: small capitals >= 0.70, text fonts <= 0.62), or letters without ascenders stand as high as capitals.
    """
    pairs = [pair for pair in ("aA", "bB", "dD", "eE", "gG", "nN", "qQ", "rR", "tT") if {*map(ord, pair)} <= codes]
    low = [char for char in "aceimnorsuvwxz" if {ord(char), ord(char.upper())} <= codes]
    if len(pairs) < 5 or len(low) < 5:
        return False
    overlaps = [_overlap(_shape(face, pair[0]), _shape(face, pair[1])) for pair in pairs]
    heights = [_height(face, char) / _height(face, char.upper()) for char in low]
    return bool(np.median(overlaps) > 0.66 or np.median(heights) > 0.93)


def _traits(face: ImageFont.FreeTypeFont, style: str, codes: set[int]) -> tuple[str, ...]:
    traits = []
    if {ord("I"), ord("M"), ord("i")} <= codes:
        widths = _shape(face, "I").sum(1)  # a bare stem is as wide at its ends as in the middle
        if max(widths[1], widths[-2]) <= 1.15 * widths[len(widths) // 2]:
            traits.append("sans")
        if face.getlength("i") == face.getlength("M"):
            traits.append("mono")
    if re.search("italic|oblique|slanted", style, re.IGNORECASE):
        traits.append("italic")
    return tuple(traits)


def _height(face: ImageFont.FreeTypeFont, character: str) -> float:
    _, top, _, bottom = face.getbbox(character)
    return max(1.0, bottom - top)


def _shape(face: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    """The glyph's ink stretched to 24 x 24: bool."""
    left, top, right, bottom = face.getbbox(character)
    image = Image.new("L", (max(1, int(right - left)), max(1, int(bottom - top))))
    ImageDraw.Draw(image).text((-left, -top), character, 255, face)
    return np.asarray(image.crop(image.getbbox()).resize((24, 24), Image.Resampling.BILINEAR)) > 127


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _ranges(codes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    cuts = [-1, *(i for i, (a, b) in enumerate(pairwise(codes)) if b != a + 1), len(codes) - 1]
    return tuple((codes[start + 1], codes[end]) for start, end in pairwise(cuts))
