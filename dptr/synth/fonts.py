"""Fonts: found on the system, or the embedded ones where it has none, and chosen by the word they have to draw.

What ``faces`` finds out about each file is kept in ``$XDG_CACHE_HOME/dptr/fonts.json``, by path, size and time of the
file: a first look at a thousand fonts takes about 20 seconds, every later one a fraction of a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import features

from dptr.synth.font_file import SUFFIXES, SYMBOL, Font, inside, inspect_font_file
from dptr.synth.font_styles import FONT_STYLES
from dptr.text.unicode import JOINERS
from dptr.utils.errors import UserError
from dptr.utils.files import write_json

CACHE_VERSION = 7
EMBEDDED = Path(__file__).with_name("embedded")  # Latin letters; sources and licenses in FONTS.md there
FEW_FAMILIES = 20  # as many as are embedded; a system with fewer (a container often has one) gets them too
OTHER_SUFFIXES = {".pfb", ".pfa", ".t1", ".pcf", ".bdf", ".fon", ".woff", ".woff2"}

_FIELDS = ("number", "family", "style", "weight")
_BLANK = {" ", *JOINERS}  # what no font has to draw
# How often signs are painted in such faces, against a regular upright serif: our estimate from training crops.
_BOLDNESS = ((100, 0.2), (400, 1.0), (700, 2.0), (900, 2.0))  # by weight, linear in between
_TRAITS = {"sans": 2.0, "italic": 0.5, "mono": 0.4}
# Scripts whose glyphs depend on their neighbors, or that run right to left: they need a shaping engine.
_COMPLEX = ((0x0300, 0x036F), (0x0590, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x18AF), (0x1900, 0x1CFF),
            (0xA800, 0xABFF), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFC), (0x10800, 0x11FFF), (0x1E800, 0x1EFFF))  # fmt: skip


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
    """Look at every font in ``paths`` (files or folders), in the order of their paths.

    Without ``paths``: at those of the system, and at the embedded ones too where it has fewer than ``FEW_FAMILIES``. A
    file that is named itself is used even where it is a font of symbols (``font_file.inspect_font_file``).

    Raises:
        UserError: a path that does not exist.
    """
    if paths:
        return _scan(paths)
    scan = _scan(font_folders())
    if len({font.group for font in scan.fonts}) >= FEW_FAMILIES:
        return scan
    return FontScan([*scan.fonts, *_scan([EMBEDDED]).fonts], scan.left_out)


def describe_embedded(fonts: Sequence[Font], paths: Sequence[str | Path] = ()) -> list[str]:
    """A line for the log where ``fonts``, found without ``paths``, hold the embedded ones; else none."""
    groups: dict[bool, set[str]] = {True: set(), False: set()}
    for font in fonts:
        groups[Path(font.path).parent == EMBEDDED].add(font.group)
    if paths or not groups[True]:
        return []
    own, too = (f"few fonts ({len(groups[False])} families)", " too") if groups[False] else ("no fonts", "")
    count = len(groups[True])
    return [f"{own} on this system: the {count} embedded ones are used{too}; scripts/fonts.sh installs more"]


def _scan(paths: Sequence[str | Path]) -> FontScan:
    cache_path = _cache_path()
    cache = _read_cache(cache_path)
    before = len(cache)
    named = set(map(Path, paths))
    fonts: list[Font] = []
    left_out: dict[str, list[str]] = {}
    for path in _font_files(paths):
        stat = path.stat()
        key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in cache:
            cache[key] = [_plain(face) for face in inspect_font_file(path)]
        if path in named and any(face.get("reason") == SYMBOL for face in cache[key]):
            key = f"{key}|named"
            if key not in cache:
                cache[key] = [_plain(face) for face in inspect_font_file(path, named=True)]
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
        where = ", ".join(map(str, paths)) or "this system's font folders and the package"
        raise UserError(
            f"no usable font in {where}; rendering needs at least one TrueType or OpenType font; run scripts/fonts.sh "
            "to install free ones, or pass --set 'render.fonts=[\"FOLDER\"]'"
        )
    return scan.fonts


def needs_shaping(text: str) -> bool:
    """Whether ``text`` holds characters that only a shaping engine (raqm) draws correctly."""
    return not text.isascii() and any(char > "\u02ff" and inside(ord(char), _COMPLEX) for char in text)


class FontIndex:
    """Which fonts can draw a word, and a choice among them in which no family dominates.

    A face of a family of n counts ``1 / sqrt(n)``, so a family counts about ``sqrt(n)``: families with many widths are
    seen more often than a lone display font, and 600 faces of Noto do not drown the rest. Bold and sans-serif faces
    count more, hairlines, italics and typewriters less, for that is how signs are painted.

    Args:
        fonts: the faces; None = those of this system, and the embedded ones if they are few (``scan_fonts``).
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
        self.styles = {name: np.array([*map(fits, self.fonts)]) for name, fits in FONT_STYLES.items()}
        self._columns: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.fonts)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_columns": {}}

    def covering(self, text: str) -> np.ndarray:
        """Which fonts draw every character of ``text``: bool (fonts,). All False for an empty or blank text."""
        characters = set(text) - _BLANK
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

    def choose(self, text: str, fraction: float, style: str = "") -> Font:
        """The font at ``fraction`` in [0, 1) of the weights of those that cover ``text``.

        Args:
            style: a key of ``FONT_STYLES``, whose fonts go before plain ones, and these before all others; "" = none
                goes before others.

        Raises:
            UserError: none covers it; the characters that no font has are named.
        """
        covering = self.covering(text)
        for wanted in (style, "plain") if style else ():
            if (covering & self.styles[wanted]).any():
                covering = covering & self.styles[wanted]
                break
        cumulative = np.cumsum(self.weights * covering)
        if cumulative[-1] == 0:
            alone = sorted(char for char in set(text) - _BLANK if not self.can_draw(char))
            what = f"no font has {' '.join(alone)}" if alone else "no single font has all its characters"
            raise UserError(
                f"word {text!r}: {what}; every character of a rendered word must be in one of the {len(self.fonts)} "
                "fonts; run scripts/fonts.sh, or pass --set 'render.fonts=[\"FOLDER\"]'"
            )
        return self.fonts[int(np.searchsorted(cumulative, fraction * cumulative[-1], side="right"))]


def _heldout(group: str) -> bool:
    return hashlib.blake2b(group.encode(), digest_size=8).digest()[0] % 10 == 0


def _font_files(paths: Sequence[str | Path]) -> Iterator[Path]:
    visited: set[Path] = set()
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"fonts {path}: no such file or folder; pass a font file or a folder of fonts")
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            if file.suffix.lower() not in SUFFIXES | OTHER_SUFFIXES or not file.is_file():
                continue
            real = file.resolve()
            if real not in visited:
                visited.add(real)
                yield file


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
