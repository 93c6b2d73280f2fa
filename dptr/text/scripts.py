"""The script in which a text is written, and the languages that are written in a script."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from unicodedata import category, name

from dptr.text.languages import LANGUAGES
from dptr.text.unicode import JOINERS
from dptr.text.unicode import script as unicode_script

NO_SCRIPT = "none"
"""The script of a text without letters: of digits and signs alone, or empty."""

SCRIPTS = {  # script -> words that begin the Unicode names of its letters; in the order of the classifier's outputs
    "Latin": "LATIN", "Cyrillic": "CYRILLIC", "Greek": "GREEK", "Arabic": "ARABIC", "Hebrew": "HEBREW",
    "Devanagari": "DEVANAGARI", "Bengali": "BENGALI", "Gujarati": "GUJARATI", "Gurmukhi": "GURMUKHI",
    "Tamil": "TAMIL", "Telugu": "TELUGU", "Kannada": "KANNADA", "Malayalam": "MALAYALAM", "Odia": "ORIYA",
    "Sinhala": "SINHALA", "Thai": "THAI", "Lao": "LAO", "Khmer": "KHMER", "Burmese": "MYANMAR",
    "Georgian": "GEORGIAN", "Armenian": "ARMENIAN", "Ethiopic": "ETHIOPIC", "Hangul": "HANGUL",
    "Kana": "HIRAGANA KATAKANA KATAKANA-HIRAGANA", "Han": "CJK IDEOGRAPHIC",
}  # fmt: skip

_SCRIPT_OF_WORD = {word: script for script, words in SCRIPTS.items() for word in words.split()}
_DIGIT_AMONG_LETTERS = re.compile(r"[^\W\d_]{2}\d[^\W\d_]|[^\W\d_]\d[^\W\d_]{2}|^\d[^\W\d_]{3}")
_WRITTEN_WITH_HAN = ("Kana", "Hangul")  # scripts of languages that are written with Han, too


@cache
def script_of(character: str) -> str:
    """The script of a letter, a combining mark, or a non-ASCII digit, as a key of ``SCRIPTS``.

    "" for all other characters, and for scripts that ``SCRIPTS`` lacks.
    """
    if category(character)[0] not in "LM" and (category(character) != "Nd" or character.isascii()):
        return ""
    words = name(character, "").replace("-", " ", 1).split() if character not in JOINERS else []
    return next((_SCRIPT_OF_WORD[word] for word in words[:2] if word in _SCRIPT_OF_WORD), "")


def script_of_text(text: str) -> str:
    """The script that a recognizer must know to read a text, as a key of ``SCRIPTS``; ``NO_SCRIPT`` without letters.

    If a text has several scripts, Latin is ignored, since every recognizer knows ASCII. Han is ignored beside kana or
    Hangul. Of the scripts that remain, the one with the most characters is returned.
    """
    counts = Counter(script for script in map(script_of, text) if script)
    if len(counts) > 1:
        del counts["Latin"]
    for script in _WRITTEN_WITH_HAN:
        if script in counts:
            del counts["Han"]
    return counts.most_common(1)[0][0] if counts else NO_SCRIPT


def is_odd(text: str) -> bool:
    """Whether at least half of the words of a text mix cases as no spelling does, or have a single digit among letters.

    A recognizer spells letters that it does not know in this way: ``BOCbMOMY``, ``KaM6ok``, ``3ACTAHE``. Codes are
    different: they have several digits, or fewer letters.
    """
    words = text.split()
    return bool(words) and 2 * sum(map(_is_odd_word, words)) >= len(words)


def _is_odd_word(word: str) -> bool:
    cased = "".join(each for each in word if each.isupper() or each.islower())
    mixed = cased and not (cased.isupper() or cased.islower() or cased.istitle() or word.istitle())  # L'Oréal
    return bool(mixed or (sum(map(str.isdigit, word)) == 1 and _DIGIT_AMONG_LETTERS.search(word)))


@cache
def languages_of(script: str) -> tuple[str, ...]:
    """The codes of the languages that are written in a script, without unions of languages of several scripts."""
    return tuple(code for code in LANGUAGES if script in scripts_of_language(code) and not _is_mixed(code))


@cache
def scripts_of_language(code: str) -> tuple[str, ...]:
    """The scripts of a language's non-ASCII letters; Latin if it has none.

    The result is empty if the classifier knows none of the scripts (Tibetan, for example).
    """
    characters = [each for each in LANGUAGES[code].charset if not each.isascii() and each not in JOINERS]
    known_scripts = {*map(script_of, characters)}
    unknown = {*map(unicode_script, characters)} - {"", "MODIFIER"}
    return tuple(script for script in SCRIPTS if script in known_scripts) or (() if unknown else ("Latin",))


def _is_mixed(code: str) -> bool:
    """Whether a language is a union of languages in several scripts."""
    parts = LANGUAGES[code].parts
    return len({scripts_of_language(part) for part in parts}) > 1
