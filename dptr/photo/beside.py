"""Adapt words to their line: join them in scripts without spaces, and put right-to-left lines in reading order."""

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
"""Scripts without spaces between words."""
NO_SPACE = 0.65  # line heights; a narrower gap between such letters is no space, since their spaces are a letter wide
NO_SPACE_BESIDE_SIGNS = 1.0  # the same next to wide punctuation such as 。, half of which is white

Bounds = tuple[float, float]
"""The start and the end of a word, as fractions of the width of its line."""


def join_unspaced(view: View, words: Sequence[tuple[Bounds, Prediction]]) -> list[tuple[Bounds, Prediction]]:
    """Join words that have no space between them, since lines of all scripts are split at gaps that may be spaces.

    Two words stay apart if the reading of the whole line has a space between them, or if they were read with a pattern
    or a lexicon. The confidence of a joined word is the product of the confidences. If it is below
    ``LEAST_CONFIDENCE``, the words stay apart, since the joined word would not be shown.

    Args:
        words: of ``view``, from left to right.
    """
    space_starts = {
        view.gaps.pieces[gap][1]
        for gap, (before, after) in enumerate(zip(view.gaps.spaces, view.likely_gaps.spaces, strict=True))
        if after > before
    }
    scale = len(view.columns.blank) / view.columns.height
    joined: list[tuple[Bounds, Prediction]] = []
    for (left, right), reading in words:
        if joined:
            (begin, end), previous = joined[-1]
            confidence = previous.confidence * reading.confidence
            is_near = (left - end) * scale < _widest_gap(previous, reading) and end not in space_starts
            if is_near and confidence >= LEAST_CONFIDENCE:
                joined_reading = replace(
                    previous,
                    text=previous.text + reading.text,
                    confidence=confidence,
                    uncalibrated=previous.product * reading.product,
                    characters=previous.characters + reading.characters,
                )
                joined[-1] = (begin, right), joined_reading
                continue
        joined.append(((left, right), reading))
    return joined


def _widest_gap(previous: Prediction, following: Prediction) -> float:
    """The gap between two words, in heights of the line, below which they are joined; 0 if they never are."""
    if previous.runaway or following.runaway or previous.outside is not None or following.outside is not None:
        return 0.0
    neighbors = previous.text[-1], following.text[0]
    letters = sum(script_of(character) in UNSPACED for character in neighbors)
    if letters + sum(map(is_wide_sign, neighbors)) < len(neighbors):
        return 0.0
    return (0.0, NO_SPACE_BESIDE_SIGNS, NO_SPACE)[letters]


def is_wide_sign(character: str) -> bool:
    """Whether a character is punctuation as wide as a letter, such as 。 and 「."""
    return category(character)[0] == "P" and east_asian_width(character) in "WF"


def read_in_line(words: Sequence[Word], line: LineDirection) -> list[Word]:
    """Put the signs and numbers of a right-to-left line in the order in which they are read in that line.

    A recognizer reads the crop of a word without right-to-left letters from left to right, as it looks. So the end
    ``2024.`` of a Hebrew line is read as ``.2024``, and ``(50`` as ``50)``. This function reorders such words
    (``dptr.text.direction``), and keeps their first reading in ``Word.alone``.

    Args:
        words: from left to right.
        line: the direction of the line; ``ltr`` changes nothing.
    """
    if line == "ltr":
        return [*words]
    visual_words = [to_visual(word.text) for word in words]
    text = " ".join((*visual_words, "א"))  # so that a line of numbers begins on the right too
    logical = [*zip(logical_order(text), to_logical(text), strict=True)]
    reordered, start = [], 0
    for word, visual_word in zip(words, visual_words, strict=True):
        pairs = [
            (place - start, character) for place, character in logical if start <= place < start + len(visual_word)
        ]
        start += len(visual_word) + 1
        spelled = "".join(character for _, character in pairs)
        if needs_reordering(word.text) or spelled == word.text:
            reordered.append(word)
            continue
        characters = tuple(
            replace(word.characters[place], text=character) for place, character in pairs if word.characters
        )
        reordered.append(replace(word, text=spelled, characters=characters, alone=word.text))
    return reordered
