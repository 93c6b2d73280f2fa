"""Right-to-left text in the order in which it stands in a picture, from left to right, and back.

Labels are stored in logical order: as they are read and typed. A decoder that writes a character where it sees one
(``dptr.models.decoders.ctc.TokenCTC``) needs visual order. The Unicode bidirectional algorithm (Unicode annex 9) gives
it, but different texts can look alike, so that it has no inverse. ``reorder`` is its own inverse, and agrees with the
algorithm for a paragraph that runs from right to left on what words and signs have: letters, numbers of all digits with
separators, signs of currency, Latin words, brackets. It differs on purpose in one thing: a number and a Latin word
beside each other stay in their order (``5 GB``), as they do on signs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal
from unicodedata import bidirectional

from dptr.text.unicode import directions

Line = Literal["rtl", "ltr"]

MIRRORED = dict(zip("()[]{}<>«»‹›", ")(][}{><»«›‹", strict=True))
"""Characters whose glyph is mirrored where text runs from right to left."""

_LEFTWARD = frozenset(("R", "AL"))
_SIGNS = frozenset(("ET",))
_NEUTRAL = frozenset(("ES", "ET", "CS", "WS", "ON"))


@dataclass(frozen=True)
class _Part:
    """Neighbors that keep their order (an island), or one character of other text; each with its marks.

    Attributes:
        places: indices of its characters, in order.
        kinds: bidirectional classes of its characters without marks.
        island: whether it is an island: letters from left to right, and numbers.
        turned: whether it stands between letters that run from right to left.
    """

    places: tuple[int, ...]
    kinds: frozenset[str]
    island: bool
    turned: bool = False


def has_leftward(text: str) -> bool:
    """Whether a text has a letter that runs from right to left."""
    return not text.isascii() and "rtl" in directions(text)


def visual_order(text: str, line: Line = "rtl") -> list[int]:
    """The places of ``text``'s characters, in the order in which they stand from left to right.

    Marks follow their letter. Without a letter that runs from right to left, the order is that of the text.

    Args:
        line: the direction of the line around such letters. Between ``ltr`` numbers each word is turned where it is, as
            in labels that are written as the eye goes: ``58תל17`` stands as ``58לת17``, not as ``17לת58``.
    """
    if not has_leftward(text):
        return list(range(len(text)))
    return [place for part in _from_left(text, line) for place in part.places]


def reorder(text: str, mirrored: Mapping[str, str] = MIRRORED, line: Line = "rtl") -> str:
    """``text`` in visual order; or a text in visual order as it is read.

    ``reorder(reorder(text)) == text`` for all texts that do not begin with a mark.

    Args:
        mirrored: what stands for a character between letters that run from right to left.
        line: see ``visual_order``.
    """
    if not has_leftward(text):
        return text
    pieces = []
    for part in _from_left(text, line):
        piece = "".join(text[place] for place in part.places)
        pieces.append(mirrored.get(piece[0], piece[0]) + piece[1:] if part.turned else piece)
    return "".join(pieces)


def _from_left(text: str, line: Line) -> list[_Part]:
    parts = _find_islands(text)
    if line == "rtl":
        return [part if part.island else replace(part, turned=True) for part in reversed(parts)]
    ordered: list[_Part] = []
    while len(ordered) < len(parts):
        run = _run_of_letters(text, parts[len(ordered) :])
        ordered += reversed(run)
    return ordered


def _run_of_letters(text: str, parts: list[_Part]) -> list[_Part]:
    """The first part; if it runs from right to left, up to the last that does before an island or a bracket."""
    last = 0
    if parts[0].kinds & _LEFTWARD:
        for index, part in enumerate(parts):
            if part.island or text[part.places[0]] in MIRRORED:
                break
            last = index if part.kinds & _LEFTWARD else last
    return parts[: last + 1]


def _find_islands(text: str) -> list[_Part]:
    """The parts of a text, islands as large as they get.

    Whether two islands join depends on what both have and on what stands between, not on their order or their ends. So
    the islands of a text in visual order are those of the text.
    """
    parts = _split(text)
    arabic = any("AL" in part.kinds for part in parts)
    at = 0
    while at < len(parts):
        end = _end_of_join(parts, at, arabic)
        if end == at:
            at += 1
            continue
        joined = parts[at : end + 1]
        places = tuple(place for part in joined for place in part.places)
        parts[at : end + 1] = [_Part(places, frozenset().union(*(part.kinds for part in joined)), True)]
        at = 0  # what is behind may join the larger island
    return parts


def _split(text: str) -> list[_Part]:
    parts: list[_Part] = []
    for place, kind in enumerate(map(bidirectional, text)):
        if kind == "NSM" and parts:
            before = parts[-1]
            parts[-1] = _Part((*before.places, place), before.kinds, before.island)
        else:
            parts.append(_Part((place,), frozenset((kind,)), kind in ("L", "EN", "AN")))
    return parts


def _end_of_join(parts: list[_Part], first: int, arabic: bool) -> int:
    """The last part that joins the one at ``first``; ``first`` where none does."""
    part = parts[first]
    if not part.island:
        end = _end_of(parts, first, _SIGNS)  # such as $ before a number
        joins = first < end < len(parts) and parts[end].island and _takes_signs(parts[end], arabic)
        return end if joins else first
    end = _end_of(parts, first + 1, _NEUTRAL)
    if end < len(parts) and parts[end].island and _join(part, parts[first + 1 : end], parts[end], arabic):
        return end
    return _end_of(parts, first + 1, _SIGNS) - 1 if _takes_signs(part, arabic) else first


def _end_of(parts: list[_Part], first: int, kinds: frozenset[str]) -> int:
    """Where parts from ``first`` on, of these classes and no islands, end."""
    while first < len(parts) and not parts[first].island and parts[first].kinds <= kinds:
        first += 1
    return first


def _takes_signs(island: _Part, arabic: bool) -> bool:
    """Rule W5; European digits behind Arabic letters count as Arabic ones (W2)."""
    return "EN" in island.kinds and not arabic


def _join(one: _Part, between: list[_Part], other: _Part, arabic: bool) -> bool:
    """Rules W4 and N1, with Latin words and numbers."""
    if not between:
        return True
    kinds = [part.kinds & {"L", "EN"} for part in (one, other)]
    if all(kinds) and "L" in kinds[0] | kinds[1]:
        return True
    if len(between) > 1:
        return False
    digits = [{"AN" if arabic else "EN"} if "EN" in part.kinds else set() for part in (one, other)]
    digits = [own | (part.kinds & {"AN"}) for own, part in zip(digits, (one, other), strict=True)]
    shared = digits[0] & digits[1]
    (separator,) = between[0].kinds
    return (separator == "CS" and bool(shared)) or (separator == "ES" and "EN" in shared)
