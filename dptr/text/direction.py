"""Right-to-left text in the order in which it stands in a picture, from left to right, and back.

Labels are stored in logical order: as they are read and typed. A decoder that writes a character where it sees one
(``dptr.models.decoders.ctc.TokenCTC``) needs visual order. The Unicode bidirectional algorithm (Unicode annex 9) gives
it, but different texts can look alike, so that it has no inverse. Here a number and a Latin word beside each other keep
their order (``5 GB``), as they do on signs; for other words, numbers, signs of currency, and brackets the order is that
of the algorithm in a paragraph that runs from right to left, and ``to_logical`` brings back what ``to_visual`` got,
but for rare texts that still look like another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal
from unicodedata import bidirectional

from dptr.text.unicode import directions

LineDirection = Literal["rtl", "ltr"]
"""The direction of a line around letters that run from right to left. Between ``ltr`` numbers each word is turned where
it is, as in labels that are written as the eye goes: ``58תל17`` stands as ``58לת17``, not as ``17לת58``."""

MIRRORED = dict(zip("()[]{}<>«»‹›", ")(][}{><»«›‹", strict=True))
"""Characters whose glyph is mirrored where text runs from right to left."""

_LEFTWARD = frozenset(("R", "AL"))
_NEUTRAL = frozenset(("ES", "ET", "CS", "WS", "ON"))


@dataclass(frozen=True)
class _Part:
    """Neighbors that keep their order (an island), or one character of other text; each with its marks.

    Attributes:
        places: indices of its characters, in order.
        kinds: bidirectional classes of its characters without marks. ``EN*`` is a European digit that counts as Arabic.
        island: whether it is an island: letters from left to right, and numbers.
        mirrored: whether its bracket is.
    """

    places: tuple[int, ...]
    kinds: frozenset[str]
    island: bool
    mirrored: bool = False


def has_leftward(text: str) -> bool:
    """Whether a text has a letter that runs from right to left."""
    return not text.isascii() and "rtl" in directions(text)


def visual_order(text: str, line: LineDirection = "rtl") -> list[int]:
    """The places of the characters of a text in logical order, as they stand from left to right.

    Marks follow their letter. Without letters that run from right to left, and Arabic digits, it is the order of the
    text.
    """
    return _places(text, line, _find_islands)


def logical_order(text: str, line: LineDirection = "rtl") -> list[int]:
    """The places of the characters of a text in visual order, as they are read."""
    return _places(text, line, _find_shown_islands)


def to_visual(text: str, mirrored: Mapping[str, str] = MIRRORED, line: LineDirection = "rtl") -> str:
    """A text in logical order as it stands from left to right.

    Args:
        mirrored: what stands for a character between letters that run from right to left.
    """
    return _spell(text, mirrored, line, _find_islands)


def to_logical(text: str, mirrored: Mapping[str, str] = MIRRORED, line: LineDirection = "rtl") -> str:
    """A text in visual order as it is read: ``to_logical(to_visual(text)) == text`` but for texts that begin with a
    mark, and rare ones that look like another, which comes back in their place: ``50%-70 הנחה`` and ``70-50% הנחה``."""
    return _spell(text, mirrored, line, _find_shown_islands)


_Find = Callable[[str], list[_Part]]


def _places(text: str, line: LineDirection, find: _Find) -> list[int]:
    if not needs_reordering(text):
        return list(range(len(text)))
    return [place for part in _turn(text, line, find) for place in part.places]


def _spell(text: str, mirrored: Mapping[str, str], line: LineDirection, find: _Find) -> str:
    if not needs_reordering(text):
        return text
    pieces = []
    for part in _turn(text, line, find):
        piece = "".join(text[place] for place in part.places)
        pieces.append(mirrored.get(piece[0], piece[0]) + piece[1:] if part.mirrored else piece)
    return "".join(pieces)


def needs_reordering(text: str) -> bool:
    """Whether the two orders may differ: Arabic numbers follow each other from right to left even without letters."""
    return not text.isascii() and any(bidirectional(character) in ("R", "AL", "AN") for character in text)


def _turn(text: str, line: LineDirection, find: _Find) -> list[_Part]:
    parts = find(text)
    if line == "rtl":
        return [part if part.island else replace(part, mirrored=True) for part in reversed(parts)]
    ordered: list[_Part] = []
    while len(ordered) < len(parts):
        ordered += reversed(_first_word(text, parts[len(ordered) :]))
    return ordered


def _first_word(text: str, parts: list[_Part]) -> list[_Part]:
    """The parts up to the last leftward letter before an island or a bracket; the first alone if it is none."""
    last = 0
    if parts[0].kinds & _LEFTWARD:
        for index, part in enumerate(parts):
            if part.island or text[part.places[0]] in MIRRORED:
                break
            last = index if part.kinds & _LEFTWARD else last
    return parts[: last + 1]


def _find_islands(text: str) -> list[_Part]:
    """The parts of a text in logical order, islands as large as they get.

    Whether islands join depends on what they have and what stands between them, not on their order. So the islands of a
    text in visual order are those of the text.
    """
    return _join_islands(_count_as_arabic(_split(text)))


def _find_shown_islands(text: str) -> list[_Part]:
    """The parts of a text in visual order, which begins on its right."""
    return _join_islands(_count_as_arabic(_split(text)[::-1])[::-1])


def _split(text: str) -> list[_Part]:
    parts: list[_Part] = []
    for place, kind in enumerate(map(bidirectional, text)):
        if kind == "NSM" and parts:
            parts[-1] = replace(parts[-1], places=(*parts[-1].places, place))
        else:
            parts.append(_Part((place,), frozenset((kind,)), kind in ("L", "EN", "AN")))
    return parts


def _count_as_arabic(parts: list[_Part]) -> list[_Part]:
    """Rule W2: European digits behind an Arabic letter count as Arabic ones."""
    counted, arabic = [], False
    for part in parts:
        if part.kinds & _LEFTWARD:
            arabic = "AL" in part.kinds
        counted.append(replace(part, kinds=frozenset(("EN*",))) if arabic and "EN" in part.kinds else part)
    return counted


def _join_islands(parts: list[_Part]) -> list[_Part]:
    parts = _join(_join(parts, _touch), _is_number)
    count = 0
    while len(parts) != count:  # a larger island may take more
        count = len(parts)
        parts = _join(_join(_take_signs(parts), _touch), _are_words)
    return parts


def _take_signs(parts: list[_Part]) -> list[_Part]:
    """Rule W5: signs such as $ and % beside European digits."""
    taken: list[_Part] = []
    for beside, group in groupby(parts, lambda part: part.kinds == {"ET"} or (part.island and "EN" in part.kinds)):
        own = [*group]
        taken += [_merge(own)] if beside and any(part.island for part in own) else own
    return taken


def _touch(one: _Part, between: list[_Part], other: _Part) -> bool:
    return not between


def _is_number(one: _Part, between: list[_Part], other: _Part) -> bool:
    """Rule W4: digits of one kind with one separator between them."""
    if len(between) != 1:
        return False
    (separator,) = between[0].kinds
    european = "EN" in one.kinds & other.kinds
    arabic = all(part.kinds & {"AN", "EN*"} for part in (one, other))
    return (separator == "CS" and (european or arabic)) or (separator == "ES" and european)


def _are_words(one: _Part, between: list[_Part], other: _Part) -> bool:
    """Rule N1 for Latin words, and for European numbers beside them."""
    kinds = [part.kinds & {"L", "EN", "EN*"} for part in (one, other)]
    return all(kinds) and "L" in kinds[0] | kinds[1] and all(part.kinds <= _NEUTRAL for part in between)


def _join(parts: list[_Part], joins: Callable[[_Part, list[_Part], _Part], bool]) -> list[_Part]:
    """Islands that join one before them, with what stands between; the larger one may join another."""
    joined: list[_Part] = []
    for part in parts:
        joined.append(part)
        while joined[-1].island:
            before = len(joined) - 2
            while before >= 0 and not joined[before].island and joined[before].kinds <= _NEUTRAL:
                before -= 1
            own = joined[max(before, 0) :]
            if before < 0 or not own[0].island or not joins(own[0], own[1:-1], own[-1]):
                break
            joined[before:] = [_merge(own)]
    return joined


def _merge(parts: list[_Part]) -> _Part:
    places = tuple(place for part in parts for place in part.places)
    return _Part(places, frozenset().union(*(part.kinds for part in parts)), True)
