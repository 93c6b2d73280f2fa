"""Approximate relative widths of characters in common fonts; a typical letter has width 1."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from dptr.text.unicode import JOINERS, script

_USUAL, _WIDE = 1.0, 1.4
_MORE = 0.5  # added for each further character of a cluster that takes space, such as half forms and vowel signs
_WIDTHS = {
    **dict.fromkeys("ijl1I!|.,:;'`\"()[]{}ftr-/\\", 0.5),
    **dict.fromkeys("mwMW@%&", _WIDE),
    **dict.fromkeys("ןיו", 0.5),
    **dict.fromkeys("זנג", 0.75),
    "ש": _WIDE,
}
# Arabic letters, relative to the mean letter of a text; means of 8 fonts.
_ENDING = {  # isolated and final forms
    **dict.fromkeys("اأإآٱ", 0.7),
    **dict.fromkeys("معغجچحخے", 1.4),
    **dict.fromkeys("نلقئىيیں", 1.6),
    **dict.fromkeys("كطظپبتثٹکفگڤ", 1.9),
    **dict.fromkeys("سش", 2.4),
    **dict.fromkeys("صض", 2.6),
}
_JOINED = {  # initial and medial forms, joined to the next letter
    **dict.fromkeys("لبتثپٹئنيیى", 0.7),
    **dict.fromkeys("فقڤ", 1.0),
    **dict.fromkeys("معغهہھكکگ", 1.2),
    **dict.fromkeys("جچحخطظسش", 1.5),
    **dict.fromkeys("صض", 1.7),
}


def measure_widths(clusters: Sequence[str]) -> list[float]:
    """The widths of consecutive grapheme clusters, given from left to right."""
    return [_measure(cluster, clusters[index - 1] if index else "") for index, cluster in enumerate(clusters)]


def _measure(cluster: str, before: str) -> float:
    letter = cluster[0]
    added = _MORE * sum(not _takes_no_space(each) for each in cluster[1:])
    if letter in _JOINED and _is_joined(before) and "\u200c" not in cluster:
        return _JOINED[letter] + added
    default = _WIDE if unicodedata.east_asian_width(letter) in "WF" else _USUAL
    return _WIDTHS.get(letter, _ENDING.get(letter, default)) + added


def _is_joined(cluster: str) -> bool:
    """Whether the letter to the right of a cluster is joined to it."""
    return cluster[:1].isalpha() and script(cluster[0]) == "ARABIC" and cluster[0] != "ء"


def _takes_no_space(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me") or character in JOINERS
