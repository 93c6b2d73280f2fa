"""What Unicode says of characters: script, direction, combining marks, grapheme clusters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Literal
from unicodedata import bidirectional, category, name

JOINERS = "\u200c\u200d"  # zero width non-joiner and joiner: they choose the form of the letters beside them
_EAST_ASIAN = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL")
# A virama, further marks or zero width joiners, and the consonant that it fuses: InCB=Linker, Extend and Consonant of
# Devanagari and Bengali (Unicode 15.1, DerivedCoreProperties.txt).
_CONJUNCT = re.compile(
    "\u094d[\u093c\u094d\u200d]*[\u0915-\u0939\u0958-\u095f\u0978-\u097f]"
    "|\u09cd[\u09bc\u09cd\u200d]*[\u0995-\u09a8\u09aa-\u09b0\u09b2\u09b6-\u09b9\u09dc\u09dd\u09df\u09f0\u09f1]"
)


def is_mark(character: str) -> bool:
    """Whether a character is a combining mark (general category M): it is written on the character before it."""
    return category(character)[0] == "M"


@cache
def script(letter: str) -> str:
    """Script of a letter or mark by the first word of its Unicode name, "" for all else.

    Chinese characters, kana and Hangul, which are written side by side, count as one, "EAST ASIAN".
    """
    if category(letter)[0] not in "LM":
        return ""
    first = name(letter, "").split(" ")[0]
    if first in ("FEMININE", "MASCULINE"):  # ordinal indicators
        return ""
    return "EAST ASIAN" if first in _EAST_ASIAN else first


def directions(text: Iterable[str]) -> set[Literal["ltr", "rtl"]]:
    """The directions in which the letters of ``text`` run: its strong types L, R and AL (UAX #9, table 4)."""
    strong: dict[str, Literal["ltr", "rtl"]] = {"L": "ltr", "R": "rtl", "AL": "rtl"}
    return {strong[kind] for kind in map(bidirectional, text) if kind in strong}


def graphemes(text: str) -> list[str]:
    """The extended grapheme clusters of ``text``: what its readers count as one character.

    Rules GB9, GB9a and GB9c of UAX #29 (Unicode 15.1): a combining mark or joiner belongs to the character before it,
    and a consonant to the Devanagari or Bengali virama before it (क्ष is one cluster), whatever carries the virama.
    Emoji sequences, flags, jamo that NFC has not composed, and viramas of other scripts are not treated: no charset of
    this toolkit holds them.
    """
    if text.isascii():
        return list(text)
    fused = {match.end() - 1 for match in _CONJUNCT.finditer(text)}
    clusters: list[str] = []
    for index, character in enumerate(text):
        if clusters and (index in fused or is_mark(character) or character in JOINERS):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters
