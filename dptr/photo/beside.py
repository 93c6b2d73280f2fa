"""What words of a line become beside the others: joined where a script has no spaces, and read as the line runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from unicodedata import category, east_asian_width

from dptr.inference.prediction import Prediction
from dptr.photo.page import LEAST_CONFIDENCE, Word
from dptr.photo.views import View
from dptr.text.direction import LineDirection, logical_order, needs_reordering, to_logical, to_visual
from dptr.text.scripts import script_of

UNSPACED = "Han", "Kana"
"""Scripts whose words follow each other without a space."""
NO_SPACE = 0.65  # heights of a line, below which white between such letters is no space; theirs is a letter wide
NO_SPACE_BESIDE_SIGNS = 1.0  # the same beside 。 and its kin, which are half white themselves

Bounds = tuple[float, float]
"""Where a word begins and ends, as fractions of its line's width."""


def join_unspaced(view: View, words: Sequence[tuple[Bounds, Prediction]]) -> list[tuple[Bounds, Prediction]]:
    """Join words between which no space belongs: lines are split where a gap may be one, in any script.

    Two stay apart where the reading of the whole line has a space, and where a pattern or a lexicon asked for words.
    The confidence of what is joined is the product of theirs; below ``LEAST_CONFIDENCE``, where the whole line would
    not be shown, they stay apart too.

    Args:
        words: of ``view``, from left to right.
    """
    spaces = {
        view.gaps.pieces[gap][1]
        for gap, (before, after) in enumerate(zip(view.gaps.spaces, view.likely_gaps.spaces, strict=True))
        if after > before
    }
    scale = len(view.columns.blank) / view.columns.height
    joined: list[tuple[Bounds, Prediction]] = []
    for (left, right), reading in words:
        if joined:
            (begin, end), last = joined[-1]
            confidence = last.confidence * reading.confidence
            near = (left - end) * scale < _widest_gap(last, reading) and end not in spaces
            if near and confidence >= LEAST_CONFIDENCE:
                both = replace(
                    last,
                    text=last.text + reading.text,
                    confidence=confidence,
                    uncalibrated=last.product * reading.product,
                    characters=last.characters + reading.characters,
                )
                joined[-1] = (begin, right), both
                continue
        joined.append(((left, right), reading))
    return joined


def _widest_gap(last: Prediction, following: Prediction) -> float:
    """The white between two words, in heights of the line, below which they are one; 0 where they never are."""
    if last.runaway or following.runaway or last.outside is not None or following.outside is not None:
        return 0.0
    beside = last.text[-1], following.text[0]
    letters = sum(script_of(character) in UNSPACED for character in beside)
    if letters + sum(map(is_wide_sign, beside)) < len(beside):
        return 0.0
    return (0.0, NO_SPACE_BESIDE_SIGNS, NO_SPACE)[letters]


def is_wide_sign(character: str) -> bool:
    """Whether it is punctuation as wide as a letter, such as 。 and 「."""
    return category(character)[0] == "P" and east_asian_width(character) in "WF"


def read_in_line(words: Sequence[Word], line: LineDirection) -> list[Word]:
    """Words of a line that runs from right to left, with signs and numbers in the order in which they are read there.

    The crop of a word shows ``.2024`` where a Hebrew line ends in ``2024.``, and ``50)`` where it has ``(50``: what a
    recognizer sees from left to right in a word without leftward letters, their line turns (``dptr.text.direction``).

    Args:
        words: from left to right.
        line: ``ltr`` changes nothing.
    """
    if line == "ltr":
        return [*words]
    shown = [to_visual(word.text) for word in words]
    text = " ".join((*shown, "א"))  # the line begins on the right, also one of numbers
    read = [*zip(logical_order(text), to_logical(text), strict=True)]
    turned, start = [], 0
    for word, own in zip(words, shown, strict=True):
        pairs = [(place - start, character) for place, character in read if start <= place < start + len(own)]
        start += len(own) + 1
        spelled = "".join(character for _, character in pairs)
        if needs_reordering(word.text) or spelled == word.text:
            turned.append(word)
            continue
        characters = tuple(
            replace(word.characters[place], text=character) for place, character in pairs if word.characters
        )
        turned.append(replace(word, text=spelled, characters=characters, alone=word.text))
    return turned
