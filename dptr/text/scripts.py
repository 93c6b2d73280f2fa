"""Scripts: which one a text is written in, and which languages write it."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from unicodedata import category, name

from dptr.text.languages import LANGUAGES
from dptr.text.unicode import JOINERS
from dptr.text.unicode import script as word_of_name

NO_SCRIPT = "none"
"""Of digits and signs alone, and of nothing."""

SCRIPTS = {  # by name, how the Unicode names of its letters begin; the order is that of the classifier's outputs
    "Latin": "LATIN", "Cyrillic": "CYRILLIC", "Greek": "GREEK", "Arabic": "ARABIC", "Hebrew": "HEBREW",
    "Devanagari": "DEVANAGARI", "Bengali": "BENGALI", "Gujarati": "GUJARATI", "Gurmukhi": "GURMUKHI",
    "Tamil": "TAMIL", "Telugu": "TELUGU", "Kannada": "KANNADA", "Malayalam": "MALAYALAM", "Odia": "ORIYA",
    "Sinhala": "SINHALA", "Thai": "THAI", "Lao": "LAO", "Khmer": "KHMER", "Burmese": "MYANMAR",
    "Georgian": "GEORGIAN", "Armenian": "ARMENIAN", "Ethiopic": "ETHIOPIC", "Hangul": "HANGUL",
    "Kana": "HIRAGANA KATAKANA KATAKANA-HIRAGANA", "Han": "CJK IDEOGRAPHIC",
}  # fmt: skip

_BY_WORD = {word: script for script, words in SCRIPTS.items() for word in words.split()}
_DIGIT_AMONG_LETTERS = re.compile(r"[^\W\d_]{2}\d[^\W\d_]|[^\W\d_]\d[^\W\d_]{2}|^\d[^\W\d_]{3}")
_OVER_HAN = ("Kana", "Hangul")  # beside which Han belongs to their language


@cache
def script_of(character: str) -> str:
    """The script of a letter, a mark, or a digit other than ASCII's, a key of ``SCRIPTS``; "" of all else."""
    if category(character)[0] not in "LM" and (category(character) != "Nd" or character.isascii()):
        return ""
    words = name(character, "").replace("-", " ", 1).split() if character not in JOINERS else []
    return next((_BY_WORD[word] for word in words[:2] if word in _BY_WORD), "")


def script_of_text(text: str) -> str:
    """The script that a recognizer must know to read a text, a key of ``SCRIPTS``; ``NO_SCRIPT`` without letters.

    Every recognizer knows ASCII, so other letters count before Latin ones, and kana and Hangul before Han. Of several
    other scripts the one of most characters counts.
    """
    counts = Counter(script for script in map(script_of, text) if script)
    if len(counts) > 1:
        del counts["Latin"]
    for script in _OVER_HAN:
        if script in counts:
            del counts["Han"]
    return counts.most_common(1)[0][0] if counts else NO_SCRIPT


def is_odd(text: str) -> bool:
    """Whether half of the words of a text or more mix cases as no spelling does, or hold one digit among letters.

    So a recognizer writes letters that it does not know: ``BOCbMOMY``, ``KaM6ok``, ``3ACTAHE``. Codes have several
    digits, or fewer letters.
    """
    words = text.split()
    return bool(words) and 2 * sum(map(_is_odd_word, words)) >= len(words)


def _is_odd_word(word: str) -> bool:
    cased = "".join(each for each in word if each.isupper() or each.islower())
    mixed = cased and not (cased.isupper() or cased.islower() or cased.istitle() or word.istitle())  # L'Oréal
    return bool(mixed or (sum(map(str.isdigit, word)) == 1 and _DIGIT_AMONG_LETTERS.search(word)))


@cache
def languages_of(script: str) -> tuple[str, ...]:
    """The codes of the languages that are written in a script; not of those that join languages of several."""
    return tuple(code for code in LANGUAGES if script in scripts_of_language(code) and not _is_mixed(code))


@cache
def scripts_of_language(code: str) -> tuple[str, ...]:
    """The scripts of a language's letters other than ASCII's; Latin where there are no others.

    None of a language in letters that the classifier does not know, such as Tibetan ones.
    """
    others = [each for each in LANGUAGES[code].charset if not each.isascii() and each not in JOINERS]
    found = {*map(script_of, others)}
    unknown = {*map(word_of_name, others)} - {"", "MODIFIER"}
    return tuple(script for script in SCRIPTS if script in found) or (() if unknown else ("Latin",))


def _is_mixed(code: str) -> bool:
    parts = LANGUAGES[code].parts
    return len({scripts_of_language(part) for part in parts}) > 1
