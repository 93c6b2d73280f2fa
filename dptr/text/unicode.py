"""Unicode properties of characters: script, direction, combining marks, grapheme clusters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Literal
from unicodedata import bidirectional, category, name

JOINERS = "\u200c\u200d"  # zero width non-joiner and joiner, which select the form of neighboring letters
_EAST_ASIAN = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL")
# A virama, further marks or zero width joiners, and the consonant that it fuses: InCB=Linker, Extend and Consonant of
# six scripts (Unicode 15.1, DerivedCoreProperties.txt).
_CONJUNCT = re.compile(  # Devanagari, Bengali, Gujarati, Odia, Telugu, Malayalam
    "\u094d[\u093c\u094d\u200d]*[\u0915-\u0939\u0958-\u095f\u0978-\u097f]"
    "|\u09cd[\u09bc\u09cd\u200d]*[\u0995-\u09a8\u09aa-\u09b0\u09b2\u09b6-\u09b9\u09dc\u09dd\u09df\u09f0\u09f1]"
    "|\u0acd[\u0abc\u0acd\u200d]*[\u0a95-\u0aa8\u0aaa-\u0ab0\u0ab2\u0ab3\u0ab5-\u0ab9\u0af9]"
    "|\u0b4d[\u0b3c\u0b4d\u200d]*[\u0b15-\u0b28\u0b2a-\u0b30\u0b32\u0b33\u0b35-\u0b39\u0b5c\u0b5d\u0b5f\u0b71]"
    "|\u0c4d[\u0c3c\u0c4d\u200d]*[\u0c15-\u0c28\u0c2a-\u0c39\u0c58-\u0c5a]"
    "|\u0d4d[\u0d3b\u0d3c\u0d4d\u200d]*[\u0d15-\u0d3a]"
)
# SpacingMark of UAX #29, table 2: Thai and Lao AM, letters by category, are among them; three Burmese marks are not.
_SPACING = "\u0e33\u0eb3"
_APART = "\u102b\u102c\u1038"


def is_mark(character: str) -> bool:
    """Whether a character is a combining mark (general category M)."""
    return category(character)[0] == "M"


def is_jamo(character: str) -> bool:
    """Whether a character is a conjoining jamo of Hangul, which NFC composes with its neighbors."""
    return name(character, "").startswith(("HANGUL CHOSEONG", "HANGUL JUNGSEONG", "HANGUL JONGSEONG"))


@cache
def script(letter: str) -> str:
    """The script of a letter or mark, by the first word of its Unicode name; "" for other characters.

    Chinese characters, kana, and Hangul, which occur together, are one script here, "EAST ASIAN".
    """
    if category(letter)[0] not in "LM":
        return ""
    first = name(letter, "").split(" ")[0]
    if first in ("FEMININE", "MASCULINE"):  # ordinal indicators
        return ""
    return "EAST ASIAN" if first in _EAST_ASIAN else first


def directions(text: Iterable[str]) -> set[Literal["ltr", "rtl"]]:
    """The directions of the letters of ``text``, by the strong types L, R, and AL (UAX #9, table 4)."""
    strong: dict[str, Literal["ltr", "rtl"]] = {"L": "ltr", "R": "rtl", "AL": "rtl"}
    return {strong[kind] for kind in map(bidirectional, text) if kind in strong}


def graphemes(text: str) -> list[str]:
    """The extended grapheme clusters of ``text``, the characters that readers perceive.

    By rules GB9, GB9a, and GB9c of UAX #29 (Unicode 15.1), a combining mark or joiner belongs to the character before
    it; so does a consonant to a virama before it (क्ष is one cluster), in six scripts, whatever has the virama. Emoji
    sequences, flags, and conjoining jamo are not supported, since no charset of this toolkit has them.
    """
    if text.isascii():
        return list(text)
    fused = {match.end() - 1 for match in _CONJUNCT.finditer(text)}
    clusters: list[str] = []
    for index, character in enumerate(text):
        extends = (is_mark(character) and character not in _APART) or character in JOINERS or character in _SPACING
        if clusters and (index in fused or extends):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters
