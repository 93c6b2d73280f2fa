"""Inspection of font files: which characters each face draws, what it looks like, or why it cannot be used.

A file lists the characters that it maps (its cmap), but not whether it draws them well. So each face is tried out, and
these characters are removed:

- characters without ink;
- lower-case letters that look like capitals, because such a crop would teach a wrong label;
- marks that stand beside their letter instead of above or below it.
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

logging.getLogger("fontTools").setLevel(logging.ERROR)  # fontTools warns of every irregularity in a font

SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}

# Reasons why a face is not used.
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

_CHECK_SIZE = 32  # pixels per em at which glyphs are drawn for inspection
# Scripts of thousands of glyphs: Han, Hangul syllables, Tangut and Khitan, and the planes of rare Han. If a sample of
# such a range has ink, the whole range counts as drawn. Else every glyph is checked: NanumSquare maps Han but draws
# none of it.
_LARGE_SCRIPTS = ((0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0x17000, 0x18CFF), (0x20000, 0x3FFFF))
_SAMPLED_GLYPHS = 32
# A mark is loose if it widens its letter by more than this share of a usual letter's width. In fonts that have rules
# for placing marks, at most 57 % of a script's marks do.
_LOOSE_MARK_WIDTH = 0.3


@dataclass(frozen=True)
class Font:
    """One face of a font file; ``character in font`` tells whether it draws a character."""

    path: str
    number: int  # index of the face in its file; collections hold several
    family: str
    style: str
    weight: int  # 100 hairline, 400 regular, 700 bold, 900 black (OpenType usWeightClass)
    traits: tuple[str, ...]  # any of "sans", "mono", "italic"
    coverage: tuple[tuple[int, int], ...]  # characters that the face draws well, as inclusive ranges of code points

    def __contains__(self, character: str) -> bool:
        return inside(ord(character), self.coverage)

    @property
    def group(self) -> str:
        """The first two words of the family's name; weights and the held-out split treat a group as one family.

        All of "Noto Sans" is one group.
        """
        return " ".join(self.family.split()[:2])


def inside(code: int, ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether a code point is in one of the inclusive ranges."""
    return any(first <= code <= last for first, last in ranges)


def inspect_font_file(path: Path, named: bool = False) -> list[Font | str]:
    """Inspect each face of a file.

    Args:
        named: whether the user named this very file. Then a face is used even if its name or its tables say that it is
            a font of symbols, such as the segments of meters.

    Returns:
        For each face, a Font, or the reason why it is not used.
    """
    if path.suffix.lower() not in SUFFIXES:
        return [FORMAT]
    try:
        if path.suffix.lower() in {".ttc", ".otc"}:
            with TTCollection(str(path), lazy=True) as collection:
                return [_inspect_face(path, number, font, named) for number, font in enumerate(collection.fonts)]
        with TTFont(str(path), lazy=True) as font:
            return [_inspect_face(path, 0, font, named)]
    except Exception:  # damaged tables make fontTools raise errors of any type
        return [BROKEN]


def _inspect_face(path: Path, number: int, font: Any, named: bool) -> Font | str:
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
        codes = _find_drawn(face, sorted(cmap))
        codes = _remove_loose_marks(str(path), number, codes)
        traits = _find_traits(face, style, set(codes))
    except (OSError, ValueError):
        return BROKEN
    if sum(unicodedata.category(chr(code))[0] in "LN" for code in codes) < 10:
        return FEW
    weight = int(font["OS/2"].usWeightClass) if "OS/2" in font else 400
    return Font(str(path), number, family.strip() or path.stem, style, weight, traits, _to_ranges(codes))


def _find_drawn(face: ImageFont.FreeTypeFont, codes: Sequence[int]) -> list[int]:
    """The characters that have ink, without lower-case letters that are drawn as capitals."""
    visible = [code for code in codes if unicodedata.category(chr(code))[0] not in "ZC"]
    trusted: set[int] = set()
    for first, last in _LARGE_SCRIPTS:
        codes_of_script = [code for code in visible if first <= code <= last]
        sample = codes_of_script[:: len(codes_of_script) // _SAMPLED_GLYPHS | 1]
        if all(_has_ink(face, chr(code)) for code in sample):
            trusted.update(codes_of_script)
    usable = [code for code in visible if code in trusted or _has_ink(face, chr(code))]
    if _draws_capitals(face, set(usable)):
        usable = [code for code in usable if unicodedata.category(chr(code)) != "Ll"]
    return usable


def _remove_loose_marks(path: str, number: int, codes: Sequence[int]) -> list[int]:
    """Remove the nonspacing marks of scripts for which the font has no rules, because it sets such marks like letters.

    A font has no rules for a script if most of the script's marks widen any letter, as Bengali in MitraMono. In fonts
    with rules a few marks may do so, such as Tamil's vowel sign II. Without raqm nothing is removed: only raqm draws
    scripts with such marks.
    """
    marks = [code for code in codes if code > 0x36F and unicodedata.category(chr(code)) == "Mn"]
    if not marks or not features.check("raqm"):
        return list(codes)
    letters: dict[str, list[str]] = {}
    for code in codes:
        if unicodedata.category(chr(code)) == "Lo":
            letters.setdefault(_script(code), []).append(chr(code))
    face = ImageFont.truetype(path, _CHECK_SIZE, index=number, layout_engine=ImageFont.Layout.RAQM)
    loose: dict[str, list[bool]] = {}
    for code in marks:
        script = _script(code)
        if script_letters := letters.get(script):
            sample = script_letters[:: len(script_letters) // 6 | 1]  # several, because not all letters take marks
            widths = [face.getlength(letter) for letter in sample]
            added = min(
                face.getlength(letter + chr(code)) - width for letter, width in zip(sample, widths, strict=True)
            )
            is_loose = added > _LOOSE_MARK_WIDTH * statistics.median(widths)
            loose.setdefault(script, []).append(is_loose)
    scripts_without_rules = {script for script, is_loose in loose.items() if sum(is_loose) > 0.75 * len(is_loose)}
    removed = {code for code in marks if _script(code) in scripts_without_rules}
    return [code for code in codes if code not in removed]


def _script(code: int) -> str:
    """The first word of the character's name, such as BENGALI."""
    return unicodedata.name(chr(code), "").partition(" ")[0]


def _has_ink(face: ImageFont.FreeTypeFont, character: str) -> bool:
    left, top, right, bottom = face.getbbox(character)
    # A blank has no height. FreeType fails to draw huge glyphs, such as U+FDFD in some fonts: a sentence in one glyph.
    return bottom > top and right - left < 6 * _CHECK_SIZE and bottom - top < 6 * _CHECK_SIZE


def _draws_capitals(face: ImageFont.FreeTypeFont, codes: set[int]) -> bool:
    """Whether the face draws lower-case letters as capitals, of the same size or smaller.

    This is so if one of the following holds:

    - The median overlap of a letter with its capital, both stretched to a square, is above 0.66. It was at least 0.70
      in the fonts with small capitals that were examined, and at most 0.62 in text fonts.
    - The median height of letters without ascenders is above 0.93 of their capitals' height.

    False for faces with too few letters to tell.
    """
    pairs = [pair for pair in ("aA", "bB", "dD", "eE", "gG", "nN", "qQ", "rR", "tT") if {*map(ord, pair)} <= codes]
    without_ascenders = [char for char in "aceimnorsuvwxz" if {ord(char), ord(char.upper())} <= codes]
    if len(pairs) < 5 or len(without_ascenders) < 5:
        return False
    overlaps = [_overlap(_shape(face, pair[0]), _shape(face, pair[1])) for pair in pairs]
    heights = [_height(face, char) / _height(face, char.upper()) for char in without_ascenders]
    return bool(np.median(overlaps) > 0.66 or np.median(heights) > 0.93)


def _find_traits(face: ImageFont.FreeTypeFont, style: str, codes: set[int]) -> tuple[str, ...]:
    traits = []
    if {ord("I"), ord("M"), ord("i")} <= codes:
        widths = _shape(face, "I").sum(1)  # without serifs, the stem is as wide at its ends as in the middle
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
    """The glyph's ink, stretched to 24 x 24 pixels: bool."""
    left, top, right, bottom = face.getbbox(character)
    image = Image.new("L", (max(1, int(right - left)), max(1, int(bottom - top))))
    ImageDraw.Draw(image).text((-left, -top), character, 255, face)
    return np.asarray(image.crop(image.getbbox()).resize((24, 24), Image.Resampling.BILINEAR)) > 127


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def _to_ranges(codes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Sorted code points as inclusive ranges."""
    cuts = [-1, *(i for i, (a, b) in enumerate(pairwise(codes)) if b != a + 1), len(codes) - 1]
    return tuple((codes[start + 1], codes[end]) for start, end in pairwise(cuts))
