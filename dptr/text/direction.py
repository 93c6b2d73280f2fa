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
from dataclasses import dataclass
from unicodedata import bidirectional

from dptr.text.unicode import directions

MIRRORED = dict(zip("()[]{}<>«»‹›", ")(][}{><»«›‹", strict=True))
"""Characters whose glyph is mirrored where text runs from right to left."""

_NEUTRAL = frozenset(("ES", "ET", "CS", "WS", "ON"))


@dataclass(frozen=True)
class _Part:
    """Neighbors that keep their order (an island), or one character of other text; each with its marks.

    Attributes:
        places: indices of its characters, in order.
        kinds: bidirectional classes of its characters without marks.
        island: whether it is an island: letters from left to right, and numbers.
    """

    places: tuple[int, ...]
    kinds: frozenset[str]
    island: bool


def has_leftward(text: str) -> bool:
    """Whether a text has a letter that runs from right to left."""
    return not text.isascii() and "rtl" in directions(text)


def visual_order(text: str) -> list[int]:
    """The places of ``text``'s characters, in the order in which they stand from left to right.

    Marks follow their letter. Without a letter that runs from right to left, the order is that of the text.
    """
    if not has_leftward(text):
        return list(range(len(text)))
    return [place for part in reversed(_find_islands(text)) for place in part.places]


def reorder(text: str, mirrored: Mapping[str, str] = MIRRORED) -> str:
    """``text`` in visual order; or a text in visual order as it is read.

    ``reorder(reorder(text)) == text`` for all texts that do not begin with a mark.

    Args:
        mirrored: what stands for a character between letters that run from right to left.
    """
    if not has_leftward(text):
        return text
    pieces = []
    for part in reversed(_find_islands(text)):
        piece = "".join(text[place] for place in part.places)
        pieces.append(piece if part.island else mirrored.get(piece[0], piece[0]) + piece[1:])
    return "".join(pieces)


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
    if not part.island and part.kinds != {"ET"}:
        return first
    end = first + 1
    while end < len(parts) and not part.island and parts[end].kinds == {"ET"}:
        end += 1
    if not part.island:  # signs such as $ before a number
        return end if end < len(parts) and parts[end].island and _takes_signs(parts[end], arabic) else first
    while end < len(parts) and not parts[end].island and parts[end].kinds <= _NEUTRAL:
        end += 1
    between = [kind for each in parts[first + 1 : end] for kind in each.kinds]
    if end < len(parts) and parts[end].island and _join(part, between, parts[end], arabic):
        return end
    signs = next((count for count, kind in enumerate(between) if kind != "ET"), len(between))
    return first + signs if _takes_signs(part, arabic) else first


def _takes_signs(island: _Part, arabic: bool) -> bool:
    """Rule W5; European digits behind Arabic letters count as Arabic ones (W2)."""
    return "EN" in island.kinds and not arabic


def _join(one: _Part, between: list[str], other: _Part, arabic: bool) -> bool:
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
    return (between[0] == "CS" and bool(shared)) or (between[0] == "ES" and "EN" in shared)
