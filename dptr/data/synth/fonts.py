"""Fonts: found on the system, looked into, and chosen by the word they have to draw.

A font file tells which characters it maps (its cmap), but not whether it draws them well. So each face is drawn once:
characters without ink are struck off, and so are the lower-case letters of fonts that draw them as capitals, because
such a crop would teach a wrong label. The result is kept in ``$XDG_CACHE_HOME/dptr/fonts.json``, by path, size and
time of the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from fontTools.ttLib import TTCollection, TTFont
from PIL import Image, ImageDraw, ImageFont, features

from dptr.errors import UserError
from dptr.files import write_json

logging.getLogger("fontTools").setLevel(logging.ERROR)  # it reports every oddity of every font

CACHE_VERSION = 4
SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}
OTHER_SUFFIXES = {".pfb", ".pfa", ".t1", ".pcf", ".bdf", ".fon", ".woff", ".woff2"}

# Reasons why a face is left out.
BROKEN = "broken file"
FORMAT = "not a TrueType or OpenType file"
BITMAP = "bitmaps only"
COLOUR = "colour or emoji font"
SYMBOL = "symbol, barcode, icon or mathematics font"
FEW = "fewer than 10 letters and digits"

_SYMBOL_NAMES = re.compile(
    r"symbol|dingbat|emoji|awesome|\bicons?\b|glyphicon|webding|wingding|barcode|code ?(39|93|128)|\bean|\bmath|"
    r"music|chess|braille|keyboard|initials|ornament|last ?resort|blank|mahjong|domino|marlett|quran colored|"
    r"hieroglyph|^(cm(ex|mi|sy|r|bx|ti|tt)|msam|msbm|wasy|rsfs|stmary|esint|eufm|dsrom|bbm|dseg)\d*",
    re.IGNORECASE,
)
_FIELDS = ("number", "family", "style", "weight")
# How often signs are painted in such faces, against a regular upright serif: our estimate from training crops.
_BOLDNESS = ((100, 0.2), (400, 1.0), (700, 2.0), (900, 2.0))  # by weight, linear in between
_TRAITS = {"sans": 2.0, "italic": 0.5, "mono": 0.4}
_CHECK_SIZE = 32  # pixels an em, for looking at glyphs
# Scripts of thousands of glyphs made by machine: Han, Hangul syllables and the planes above. Taken as drawn.
_TRUSTED = ((0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0x17000, 0x18CFF), (0x20000, 0x3FFFF))
# Scripts whose glyphs depend on their neighbours, or that run right to left: they need a shaping engine.
_COMPLEX = ((0x0300, 0x036F), (0x0590, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x18AF), (0x1900, 0x1CFF),
            (0xA800, 0xABFF), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFC), (0x10800, 0x11FFF))  # fmt: skip


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
        return _inside(ord(character), self.coverage)

    @property
    def group(self) -> str:
        """The family for weighing and for the held-out split: two words of its name (all of "Noto Sans" is one)."""
        return " ".join(self.family.split()[:2])


@dataclass(frozen=True)
class FontScan:
    """What was found: usable faces, and the files left out by reason."""

    fonts: list[Font]
    left_out: dict[str, list[str]]

    def describe(self) -> str:
        """One line for the terminal."""
        groups = len({font.group for font in self.fonts})
        reasons = ", ".join(f"{len(paths)} {reason}" for reason, paths in sorted(self.left_out.items()))
        return f"{len(self.fonts)} faces of {groups} families" + (f"; left out: {reasons}" if reasons else "")


def font_folders() -> list[Path]:
    """Where this system keeps fonts (freedesktop, macOS and Windows conventions); only folders that exist."""
    home = Path.home()
    data_home = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    data_dirs = (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    folders = [data_home / "fonts", home / ".fonts", *(Path(folder) / "fonts" for folder in data_dirs if folder)]
    if sys.platform == "darwin":
        folders += [home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    if sys.platform == "win32":
        folders += [Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"]
        folders += [Path(os.environ.get("LOCALAPPDATA", home)) / "Microsoft/Windows/Fonts"]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def scan_fonts(paths: Sequence[str | Path] = ()) -> FontScan:
    """Look at every font in ``paths`` (files or folders; empty = the system's), in the order of their paths.

    Raises:
        UserError: a path that does not exist.
    """
    cache_path = _cache_path()
    cache = _read_cache(cache_path)
    before = len(cache)
    fonts: list[Font] = []
    left_out: dict[str, list[str]] = {}
    for path in _font_files(paths or font_folders()):
        stat = path.stat()
        key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in cache:
            cache[key] = [_plain(face) for face in _inspect(path)]
        for face in cache[key]:
            if "reason" in face:
                left_out.setdefault(face["reason"], []).append(str(path))
            else:
                traits, coverage = tuple(face["traits"]), tuple((first, last) for first, last in face["coverage"])
                fonts.append(Font(str(path), **{key: face[key] for key in _FIELDS}, traits=traits, coverage=coverage))
    if len(cache) > before:
        with contextlib.suppress(UserError):  # the cache only saves time; a read-only home is no reason to stop
            write_json(cache_path, {"version": CACHE_VERSION, "files": cache})
    return FontScan(fonts, left_out)


def find_fonts(paths: Sequence[str | Path] = ()) -> list[Font]:
    """The usable faces of ``scan_fonts``.

    Raises:
        UserError: there is none.
    """
    scan = scan_fonts(paths)
    if not scan.fonts:
        where = ", ".join(map(str, paths)) or "this system's font folders"
        raise UserError(
            f"no usable font in {where}; rendering needs at least one TrueType or OpenType font; run scripts/fonts.sh "
            "to install free ones, or pass --set 'render.fonts=[\"FOLDER\"]'"
        )
    return scan.fonts


def needs_shaping(text: str) -> bool:
    """Whether ``text`` holds characters that only a shaping engine (raqm) draws correctly."""
    return any(char > "\u02ff" and _inside(ord(char), _COMPLEX) for char in text)


class FontIndex:
    """Which fonts can draw a word, and a choice among them in which no family dominates.

    A face of a family of n counts ``1 / sqrt(n)``, so a family counts about ``sqrt(n)``: families with many widths are
    seen more often than a lone display font, and 600 faces of Noto do not drown the rest. Bold and sans-serif faces
    count more, hairlines, italics and typewriters less, for that is how signs are painted.

    Args:
        fonts: the faces; None = those of this system.
        split: "heldout" keeps one family in ten, by a hash of its name; "train" the others; "all" everything.

    Raises:
        UserError: no font is left.
    """

    def __init__(self, fonts: Sequence[Font] | None = None, split: Literal["all", "train", "heldout"] = "all"):
        everything = find_fonts() if fonts is None else list(fonts)
        self.fonts = [font for font in everything if split == "all" or _heldout(font.group) == (split == "heldout")]
        if not self.fonts:
            raise UserError(
                f"font_split '{split}': none of the {len(everything)} fonts falls in it; it holds one family in ten by "
                "name; install more fonts (scripts/fonts.sh) or pass --set render.font_split=all"
            )
        sizes = Counter(font.group for font in self.fonts)
        boldness = np.interp([font.weight for font in self.fonts], *np.transpose(_BOLDNESS))
        traits = [math.prod(_TRAITS[trait] for trait in font.traits) for font in self.fonts]
        self.weights = boldness * traits / np.sqrt([sizes[font.group] for font in self.fonts])
        self._columns: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.fonts)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_columns": {}}

    def covering(self, text: str) -> np.ndarray:
        """Which fonts draw every character of ``text``: bool (fonts,). All False for an empty or blank text."""
        characters = set(text) - {" "}
        if not characters or (needs_shaping(text) and not features.check("raqm")):
            return np.zeros(len(self.fonts), bool)
        covers = np.ones(len(self.fonts), bool)
        for character in characters:
            if character not in self._columns:
                self._columns[character] = np.array([character in font for font in self.fonts])
            covers = covers & self._columns[character]
        return covers

    def can_draw(self, text: str) -> bool:
        """Whether any font draws every character of ``text``."""
        return bool(self.covering(text).any())

    def choose(self, text: str, fraction: float) -> Font:
        """The font at ``fraction`` in [0, 1) of the weights of those that cover ``text``.

        Raises:
            UserError: none covers it; the characters that no font has are named.
        """
        cumulative = np.cumsum(self.weights * self.covering(text))
        if cumulative[-1] == 0:
            alone = sorted({char for char in text if char != " " and not self.can_draw(char)})
            what = f"no font has {' '.join(alone)}" if alone else "no single font has all its characters"
            raise UserError(
                f"word {text!r}: {what}; every character of a rendered word must be in one of the {len(self.fonts)} "
                "fonts; run scripts/fonts.sh, or pass --set 'render.fonts=[\"FOLDER\"]'"
            )
        return self.fonts[int(np.searchsorted(cumulative, fraction * cumulative[-1], side="right"))]


def _inside(code: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def _heldout(group: str) -> bool:
    return hashlib.blake2b(group.encode(), digest_size=8).digest()[0] % 10 == 0


def _font_files(paths: Sequence[str | Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"fonts {path}: no such file or folder; pass a font file or a folder of fonts")
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            if file.suffix.lower() not in SUFFIXES | OTHER_SUFFIXES or not file.is_file():
                continue
            real = file.resolve()
            if real not in seen:
                seen.add(real)
                yield file


def _inspect(path: Path) -> list[Font | str]:
    """Each face of a file: a Font, or the reason why it is left out."""
    if path.suffix.lower() not in SUFFIXES:
        return [FORMAT]
    try:
        if path.suffix.lower() in {".ttc", ".otc"}:
            with TTCollection(str(path), lazy=True) as collection:
                return [_face(path, number, font) for number, font in enumerate(collection.fonts)]
        with TTFont(str(path), lazy=True) as font:
            return [_face(path, 0, font)]
    except Exception:  # fontTools raises whatever a damaged table makes its parsers raise
        return [BROKEN]


def _face(path: Path, number: int, font: Any) -> Font | str:
    names = font["name"]
    family = names.getDebugName(16) or names.getDebugName(1) or path.stem
    style = names.getDebugName(17) or names.getDebugName(2) or "Regular"
    if any(table in font for table in ("CBDT", "sbix", "SVG ", "COLR")):
        return COLOUR
    if not any(table in font for table in ("glyf", "CFF ", "CFF2")):
        return BITMAP
    cmap = font.getBestCmap()
    pictorial = "OS/2" in font and (font["OS/2"].panose.bFamilyType == 5 or font["OS/2"].sFamilyClass >> 8 == 12)
    if not cmap or pictorial or _SYMBOL_NAMES.search(family) or _SYMBOL_NAMES.search(path.stem):
        return SYMBOL
    try:
        face = ImageFont.truetype(str(path), _CHECK_SIZE, index=number, layout_engine=ImageFont.Layout.BASIC)
        codes = _drawn(face, sorted(cmap))
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
    kept = [code for code in visible if (code >= 0x3400 and _inside(code, _TRUSTED)) or _has_ink(face, chr(code))]
    if _draws_capitals(face, set(kept)):
        kept = [code for code in kept if unicodedata.category(chr(code)) != "Ll"]
    return kept


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


def _plain(face: Font | str) -> dict[str, Any]:
    if isinstance(face, str):
        return {"reason": face}
    return {key: getattr(face, key) for key in (*_FIELDS, "traits", "coverage")}


def _cache_path() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dptr" / "fonts.json"


def _read_cache(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return stored["files"] if stored["version"] == CACHE_VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
