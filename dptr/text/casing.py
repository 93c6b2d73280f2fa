"""Upper, lower, and title case in languages for which Python's ``str.upper`` and so on are wrong.

The rules are those of CLDR's transforms tr-Upper, tr-Lower, tr-Title, az-Upper, az-Lower, az-Title, el-Upper and
nl-Title, as far as single words without further accents need them. Georgian has no case here: its capitals in Unicode
(U+1C90 on, Mtavruli) are in few fonts, and not used on signs. German ß needs no rule: ``str.upper`` gives SS, the first
form of the official spelling.
"""

from __future__ import annotations

import re
from unicodedata import normalize

LANGUAGES = ("tr", "az", "el", "nl", "ka")
_DOTTED = ("tr", "az")  # i and ı are two letters, each with its capital
TONOS = "\u0301"
DIALYTIKA = "\u0308"
_GREEK = re.compile("[\u0370-\u03ff]")
_LOWER_TR = {"I": "ı", "İ": "i"}
_DIPHTHONG = re.compile(f"([αεο]{TONOS})([ιυ])(?!{DIALYTIKA})")  # in NFD


def upper(text: str, language: str) -> str:
    """``text`` in upper case, by the rules of ``language``.

    İ for i in Turkish and Azerbaijani; none in Georgian; no tonos in Greek, and Ϊ where άι would become αι.
    """
    if language == "ka":
        return text
    if language in _DOTTED:
        text = text.replace("i", "İ")
    if language == "el" and text != "ή":  # "or", whose capital keeps its tonos
        text = _DIPHTHONG.sub(rf"\1\2{DIALYTIKA}", normalize("NFD", text))
        text = normalize("NFC", text.replace(TONOS, ""))
    return text.upper()


def lower(text: str, language: str) -> str:
    """``text`` in lower case, by the rules of ``language``: ı for I in Turkish and Azerbaijani."""
    if language in _DOTTED:
        text = "".join([_LOWER_TR.get(character, character) for character in text])
    return text.lower()


def title(text: str, language: str) -> str:
    """First letter upper, the others lower; in Dutch, ij is capitalized as a whole. A first Greek tonos stays."""
    if language == "ka":
        return text
    first = 2 if language == "nl" and text[:2].lower() == "ij" else 1
    head = text[:first].upper() if language == "el" else upper(text[:first], language)
    return head + lower(text[first:], language) if language in LANGUAGES else text.capitalize()


def key(text: str) -> str:
    """A key that is the same for all cases of a word, in any language: ``str.casefold`` with i = ı, ά = α, ϊ = ι."""
    folded = text.casefold()
    if folded.isascii():
        return folded
    folded = folded.replace("ı", "i").replace("i\u0307", "i")
    if not _GREEK.search(folded):
        return folded
    return normalize("NFC", re.sub(f"([αεηιουω])[{TONOS}{DIALYTIKA}]+", r"\1", normalize("NFD", folded)))
