"""Styles of fonts that kinds of pictures ask for, recognized by the family's name and the face's traits."""

from __future__ import annotations

import re
from collections.abc import Callable

from dptr.synth.font_file import Font

_NARROW = re.compile(
    r"condens|narrow|compress|\b(oswald|bebas|anton|antonio|barlow|league gothic|fjalla|pathway|din|saira|teko|"
    r"big shoulders|yanone|rajdhani|khand|staatliches|share tech|six caps|advent|abel|b612|overpass)\b",
    re.IGNORECASE,
)
_PLAIN = re.compile(
    r"^(roboto|open sans|noto sans|lato|liberation|dejavu|arimo|source sans|fira|inter|work sans|ibm plex|din|barlow|"
    r"b612|nimbus sans|free ?sans|public sans|overpass|karla|cabin|hind|mukta|libre franklin|carlito|pt sans|lexend|"
    r"archivo|gillius|universalis|switzera|sora|play|jura|ubuntu|cantarell|ocr|share tech|figtree|heebo)\b",
    re.IGNORECASE,
)
_PRINTER = re.compile(
    r"mono\b|monospace|typewriter|\b(courier|code|vt323|cutive|inconsolata|hack|anonymous)\b|\bocr", re.IGNORECASE
)
_DECORATED = re.compile(
    r"script|hand|marker|outline|shadow|inline|rounded|stencil|dots|pixel|glitch|wet|distress|sketch", re.IGNORECASE
)


def _is_plain(font: Font) -> bool:
    return bool("italic" not in font.traits and _PLAIN.match(font.family) and not _DECORATED.search(font.family))


def _is_condensed(font: Font) -> bool:
    is_narrow = _NARROW.search(f"{font.family} {font.style}")
    return bool("italic" not in font.traits and is_narrow and not _DECORATED.search(font.family) and font.weight >= 400)


def _is_printer_font(font: Font) -> bool:
    """Whether a printer of receipts could use the font: typewriter fonts and plain sans-serif fonts, not italic."""
    if "italic" in font.traits or _DECORATED.search(font.family) or font.weight > 800:
        return False
    return "mono" in font.traits or bool(_PRINTER.search(font.family)) or _is_plain(font)


FONT_STYLES: dict[str, Callable[[Font], bool]] = {
    "plain": _is_plain,
    "condensed": _is_condensed,
    "printer": _is_printer_font,
}
