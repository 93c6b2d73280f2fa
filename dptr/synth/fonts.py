"""Fonts: how they are found, and how one is chosen for a word. If the system has few, embedded fonts are added.

The results of ``dptr.synth.font_file`` are cached in ``$XDG_CACHE_HOME/dptr/fonts.json``, by path, size and time of
each file. The first scan of a thousand fonts takes about 20 seconds, later ones a fraction of a second.
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
EMBEDDED = Path(__file__).with_name("embedded")  # fonts of Latin letters; FONTS.md there lists sources and licenses
FEW_FAMILIES = 20  # a system with fewer, such as most containers, also uses the embedded fonts, which are as many
OTHER_SUFFIXES = {".pfb", ".pfa", ".t1", ".pcf", ".bdf", ".fon", ".woff", ".woff2"}

_FIELDS = ("number", "family", "style", "weight")
_BLANKS = {" ", *JOINERS}  # characters without ink, which no font needs to have
# How often signs use such faces, relative to a regular upright serif face; estimated from training crops.
_BOLDNESS_WEIGHTS = ((100, 0.2), (400, 1.0), (700, 2.0), (900, 2.0))  # by weight, interpolated linearly
_TRAIT_WEIGHTS = {"sans": 2.0, "italic": 0.5, "mono": 0.4}
# Scripts that need a shaping engine, because glyphs depend on their neighbors or the text runs from right to left.
_SHAPED = ((0x0300, 0x036F), (0x0590, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x18AF), (0x1900, 0x1CFF),
            (0xA800, 0xABFF), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFC), (0x10800, 0x11FFF), (0x1E800, 0x1EFFF))  # fmt: skip


@dataclass(frozen=True)
class FontScan:
    """The result of a scan: the usable faces, and for each reason the paths of files with a face that is not used."""

    fonts: list[Font]
    left_out: dict[str, list[str]]

    def describe(self) -> str:
        """One line for the terminal."""
        groups = len({font.group for font in self.fonts})
        reasons = ", ".join(f"{len(paths)} {reason}" for reason, paths in sorted(self.left_out.items()))
        return f"{len(self.fonts)} faces of {groups} families" + (f"; left out: {reasons}" if reasons else "")


def font_folders() -> list[Path]:
    """The existing font folders of this system, by the conventions of freedesktop, macOS and Windows."""
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
    """Inspect every font in ``paths`` (files or folders); the files of a folder follow in the order of their paths.

    Without ``paths``, inspect the fonts of the system, and the embedded ones if the system has fewer than
    ``FEW_FAMILIES``. A font of symbols is used only if ``paths`` names its file (``font_file.inspect_font_file``).

    Raises:
        UserError: a path does not exist.
    """
    if paths:
        return _scan(paths)
    scan = _scan(font_folders())
    if len({font.group for font in scan.fonts}) >= FEW_FAMILIES:
        return scan
    return FontScan([*scan.fonts, *_scan([EMBEDDED]).fonts], scan.left_out)


def describe_embedded(fonts: Sequence[Font], paths: Sequence[str | Path] = ()) -> list[str]:
    """A line for the log if the search without ``paths`` had to add the embedded fonts; else no line."""
    groups: dict[bool, set[str]] = {True: set(), False: set()}
    for font in fonts:
        groups[Path(font.path).parent == EMBEDDED].add(font.group)
    if paths or not groups[True]:
        return []
    system_fonts, too = (f"few fonts ({len(groups[False])} families)", " too") if groups[False] else ("no fonts", "")
    count = len(groups[True])
    return [f"{system_fonts} on this system: the {count} embedded ones are used{too}; scripts/fonts.sh installs more"]


def _scan(paths: Sequence[str | Path]) -> FontScan:
    cache_path = _cache_path()
    cache = _read_cache(cache_path)
    before = len(cache)
    named = set(map(Path, paths))
    fonts: list[Font] = []
    left_out: dict[str, list[str]] = {}
    for path in _list_font_files(paths):
        stat = path.stat()
        key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in cache:
            cache[key] = [_to_json(face) for face in inspect_font_file(path)]
        if path in named and any(face.get("reason") == SYMBOL for face in cache[key]):
            key = f"{key}|named"
            if key not in cache:
                cache[key] = [_to_json(face) for face in inspect_font_file(path, named=True)]
        for face in cache[key]:
            if "reason" in face:
                left_out.setdefault(face["reason"], []).append(str(path))
            else:
                traits, coverage = tuple(face["traits"]), tuple((first, last) for first, last in face["coverage"])
                fonts.append(Font(str(path), **{key: face[key] for key in _FIELDS}, traits=traits, coverage=coverage))
    if len(cache) > before:
        with contextlib.suppress(UserError):  # the cache only saves time: a read-only home folder is no error
            write_json(cache_path, {"version": CACHE_VERSION, "files": cache})
    return FontScan(fonts, left_out)


def find_fonts(paths: Sequence[str | Path] = ()) -> list[Font]:
    """The usable faces of ``scan_fonts``.

    Raises:
        UserError: there is none, or a path does not exist.
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
    """Whether ``text`` has characters that only a shaping engine (raqm) draws correctly."""
    return not text.isascii() and any(char > "\u02ff" and inside(ord(char), _SHAPED) for char in text)


class FontIndex:
    """Finds the fonts that can draw a word, and chooses among them so that no family dominates.

    A face in a group of n faces (``Font.group``) has weight ``1 / sqrt(n)``, so the group weighs ``sqrt(n)``. A group
    of many faces is chosen more often than a single display font, yet 600 faces of Noto do not crowd out the rest. As
    on signs, bold and sans-serif faces weigh more, hairlines, italics and typewriter fonts less.

    Args:
        fonts: the faces; None = those of this system, and the embedded ones if they are few (``scan_fonts``).
        split: "heldout" takes one group in ten, by a hash of its name; "train" takes the others; "all" takes all.

    Raises:
        UserError: no font is left.
    """

    def __init__(self, fonts: Sequence[Font] | None = None, split: Literal["all", "train", "heldout"] = "all"):
        candidates = find_fonts() if fonts is None else list(fonts)
        self.fonts = [font for font in candidates if split == "all" or _is_held_out(font.group) == (split == "heldout")]
        if not self.fonts:
            raise UserError(
                f"font_split '{split}': none of the {len(candidates)} fonts falls in it; it holds one family in ten by "
                "name; install more fonts (scripts/fonts.sh) or pass --set render.font_split=all"
            )
        sizes = Counter(font.group for font in self.fonts)
        boldness = np.interp([font.weight for font in self.fonts], *np.transpose(_BOLDNESS_WEIGHTS))
        traits = [math.prod(_TRAIT_WEIGHTS[trait] for trait in font.traits) for font in self.fonts]
        self.weights = boldness * traits / np.sqrt([sizes[font.group] for font in self.fonts])
        self.styles = {name: np.array([*map(fits, self.fonts)]) for name, fits in FONT_STYLES.items()}
        self._columns: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.fonts)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_columns": {}}

    def covering(self, text: str) -> np.ndarray:
        """Which fonts draw every character of ``text``: bool (fonts,).

        All are False for an empty or blank text, and for a text that needs shaping if raqm is missing.
        """
        characters = set(text) - _BLANKS
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
        """Choose a font that covers ``text``, at random by weight.

        Args:
            fraction: a random number in [0, 1): the position in the cumulative weights of the covering fonts.
            style: a key of ``FONT_STYLES``. Fonts of this style are preferred; if none covers the text, plain fonts
                are; if none of these does either, any font. "" = no preference.

        Raises:
            UserError: no font covers the text; the message names the characters that no font has.
        """
        covering = self.covering(text)
        for preferred in (style, "plain") if style else ():
            if (covering & self.styles[preferred]).any():
                covering = covering & self.styles[preferred]
                break
        cumulative = np.cumsum(self.weights * covering)
        if cumulative[-1] == 0:
            missing = sorted(char for char in set(text) - _BLANKS if not self.can_draw(char))
            problem = f"no font has {' '.join(missing)}" if missing else "no single font has all its characters"
            raise UserError(
                f"word {text!r}: {problem}; every character of a rendered word must be in one of the {len(self.fonts)} "
                "fonts; run scripts/fonts.sh, or pass --set 'render.fonts=[\"FOLDER\"]'"
            )
        return self.fonts[int(np.searchsorted(cumulative, fraction * cumulative[-1], side="right"))]


def _is_held_out(group: str) -> bool:
    return hashlib.blake2b(group.encode(), digest_size=8).digest()[0] % 10 == 0


def _list_font_files(paths: Sequence[str | Path]) -> Iterator[Path]:
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


def _to_json(face: Font | str) -> dict[str, Any]:
    """A face, or the reason why it is not used, as an entry of the cache."""
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
