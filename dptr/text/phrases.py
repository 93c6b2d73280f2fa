"""Random phrases with spaces, as on signs, labels, and receipts: several words, numbers, and punctuation marks.

The templates imitate lines of receipts and signs. They and their shares are a judgment, not measured.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import chain, repeat

import numpy as np

from dptr.text import casing
from dptr.text.charset import Charset, check_label
from dptr.text.patterns import PATTERNS
from dptr.text.random_parts import pick
from dptr.text.word_lists import WordList
from dptr.utils.errors import UserError

Draw = Callable[[np.random.Generator, str], str]  # from a case, or a name of a pattern, to a string

# W is a word, a name in braces is a pattern of ``dptr.text.patterns.PATTERNS``, and all else is literal.
_TEMPLATES = (
    *("W W", "W W", "W W", "W W W", "W W W", "W W W W", "W W W W W", "W W W W W W W", "W, W W", "W & W", "W & W W"),
    *("W: {number}", "W : {number}", "W W: {price}", "W {price}", "W W {price}", "W : {price}", "{number} W W"),
    *(
        "{number} W W W {price}",
        "W {number}",
        "W W {number}",
        "{number}, W W, W",
        "W {code}",
        "W: {code}",
        "W #{number}",
    ),
    *("{date} {time}", "W: {date}", "W {date} {time}", "Tel: {phone}", "TEL : {phone}", "Fax: {phone}", "No. {number}"),
    *("No. {number}, W W", "{number} x {price}", "{number} @ {price} {price}", "{price} {price}", "TOTAL {price}"),
    *(
        "Total: {price}",
        "TAX INVOICE",
        "SUB TOTAL : {price}",
        "W ({number})",
        "(W W)",
        "W W ({code})",
        "W - W",
        "W / W",
    ),
    *("{time} - {time}", "W-W {time}", "W W!", "W W?", "W W W.", "W, W & W", '"W W"', "W's W", "* W W *", "{price} W"),
    *(
        "W {number}% W",
        "{number}% W",
        "{code} {code}",
        "{code} {number} {price}",
        "W {email}",
        "{url} W",
        "INVOICE {code}",
    ),
    *(
        "{number} W. W",
        "W W W W, W",
        "W: W W",
        "W : W",
        "QTY {number}",
        "CASH {price}",
        "CHANGE {price}",
        "{number} PCS",
    ),
    # lines of documents
    *(
        "W W W W W W W W W W",
        "W W W W W W W W",
        "W W W W, W W W W.",
        "W W W W. W W W",
        "{number}, W W {number}/{number}, W W",
        "No. {number}, W W W, {number} W W",
        "{date} {time} W W {code} {price}",
        "{code} {number} W W W {price}",
        "W: {phone} / W: {phone}",
        "W W ({code}) W : {price}",
        "W W W W {number}% W : {price}",
        "*** W W W W W W ***",
    ),
)
_CASE_FUNCTIONS = {"upper": casing.upper, "title": casing.title, "lower": casing.lower}
_MOST_DRAWS = 1000
_SLOTS = re.compile(r"\{(?P<pattern>\w+)\}|(?P<word>W)|[^W{}]+")
_TRAILING = " :&-/@,("  # removed from the end of a shortened phrase
# Kana, iteration marks, and Han: Chinese and Japanese have no spaces between words.
_CJK = "\u3005-\u3007\u3041-\u30ff\u3400-\u9fff"
_CJK_SPACE = re.compile(rf"(?<=[{_CJK}]) (?=[{_CJK}])")
_CASES = ("upper", "upper", "upper", "title", "title", "title", "sentence", "lower")


def compose(rng: np.random.Generator, word: Draw, pattern: Draw, longest: int) -> str:
    """Fill a random template, in a random case.

    The phrase has at most ``longest`` characters, unless its first word alone is longer. It has no spaces between kana,
    iteration marks, and Han.

    Args:
        word: draws a word from (rng, case), in the case "upper", "title", or "lower".
        pattern: draws a string from (rng, name of the pattern).
        longest: in characters.
    """
    case, template = pick(rng, _CASES), pick(rng, _TEMPLATES)
    cases = chain(("title",), repeat("lower")) if case == "sentence" else repeat(case)

    def fill_slot(slot: re.Match[str]) -> str:
        if slot["pattern"]:
            return pattern(rng, slot["pattern"])
        if slot["word"]:
            return word(rng, next(cases))
        return slot[0].upper() if case == "upper" else slot[0]

    text = _CJK_SPACE.sub("", _SLOTS.sub(fill_slot, template))
    while len(text) > longest and " " in text:
        text = text[: text.rindex(" ")].rstrip(_TRAILING)
    return text


def draw_phrase(
    rng: np.random.Generator,
    lists: Sequence[WordList],
    shares: Sequence[float],
    charset: Charset,
    longest: int,
    fits: Callable[[str], bool],
) -> str:
    """Draw a phrase with words of ``lists``.

    Args:
        lists: word lists.
        shares: cumulative shares of the lists among drawn words; the last is 1.
        charset: the characters that the phrase may have.
        longest: the most characters of the phrase.
        fits: a further condition on the phrase.

    Raises:
        UserError: no phrase meets the conditions after 1,000 draws.
    """

    def draw_word(rng: np.random.Generator, case: str) -> str:
        source = lists[bisect_right(shares, rng.random())]
        word = source.word_at(rng.random())
        return _CASE_FUNCTIONS[case](word, source.language) if source.styled else word

    def draw_pattern(rng: np.random.Generator, name: str) -> str:
        return PATTERNS[name](rng, charset, longest)

    for _ in range(_MOST_DRAWS):
        text, misfit = check_label(compose(rng, draw_word, draw_pattern, longest), charset, longest)
        if misfit is None and fits(text):
            return text
    raise UserError(
        f"no phrase fits charset '{charset.name}' and max_length {longest} after {_MOST_DRAWS:,} draws; raise "
        "max_length, or set corpus.phrases=0"
    )
