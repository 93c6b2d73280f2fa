"""Right-to-left text: conversion between logical order and visual order.

Labels are stored in logical order, in which text is typed and read. A decoder that writes each character where it sees
it (``dptr.models.decoders.ctc.TokenCTC``) needs visual order, from left to right in the picture.

The Unicode bidirectional algorithm (Unicode Standard Annex #9) computes visual order. It has no inverse, because
different texts can look alike. This module changes one of its rules: a number and a Latin word next to each other keep
their order (``5 GB``), as they do on signs. For other words, numbers, currency signs, and brackets, the order is that
of the algorithm in a right-to-left paragraph. With this change ``to_logical`` inverts ``to_visual``, except for rare
texts that still look like another text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal
from unicodedata import bidirectional

from dptr.text.unicode import directions

LineDirection = Literal["rtl", "ltr"]
"""The base direction of a line with right-to-left letters.

``rtl``: the whole line is reordered. ``ltr``: each run of right-to-left words between numbers, Latin words, and
brackets is reversed in place. ``ltr`` fits labels that are written from left to right: ``58תל17`` is displayed as
``58לת17`` in an ``ltr`` line, and as ``17לת58`` in an ``rtl`` line."""

MIRRORED = dict(zip("()[]{}<>«»‹›", ")(][}{><»«›‹", strict=True))
"""Characters whose glyph is mirrored in right-to-left text, and the mirrored character."""

_RIGHT_TO_LEFT = frozenset(("R", "AL"))
_NEUTRAL = frozenset(("ES", "ET", "CS", "WS", "ON"))


@dataclass(frozen=True)
class _Part:
    """A unit of reordering: an island, or one character outside islands. Combining marks belong to their character.

    An island is a run of left-to-right letters and numbers, whose characters keep their order.

    Attributes:
        indices: indices of the characters in the text, in order.
        classes: bidirectional classes of the characters, marks excluded. ``EN*`` stands for a European digit that
            counts as an Arabic one (rule W2).
        island: whether the part is an island.
        mirrored: whether a bracket in the part is mirrored.
    """

    indices: tuple[int, ...]
    classes: frozenset[str]
    island: bool
    mirrored: bool = False


def has_leftward(text: str) -> bool:
    """Whether a text has a letter of a right-to-left script."""
    return not text.isascii() and "rtl" in directions(text)


def visual_order(text: str, line: LineDirection = "rtl") -> list[int]:
    """The indices of the characters of a text in logical order, in the order in which they are displayed.

    Combining marks follow their letter. The order of a text without right-to-left letters and Arabic digits does not
    change.
    """
    return _order(text, line, _split_logical)


def logical_order(text: str, line: LineDirection = "rtl") -> list[int]:
    """The indices of the characters of a text in visual order, in the order in which they are read."""
    return _order(text, line, _split_visual)


def to_visual(text: str, mirrored: Mapping[str, str] = MIRRORED, line: LineDirection = "rtl") -> str:
    """Convert a text from logical to visual order.

    Args:
        mirrored: replacements of characters outside islands, such as brackets, in an ``rtl`` line.
    """
    return _convert(text, mirrored, line, _split_logical)


def to_logical(text: str, mirrored: Mapping[str, str] = MIRRORED, line: LineDirection = "rtl") -> str:
    """Convert a text from visual to logical order.

    ``to_logical(to_visual(text)) == text``, except for texts that begin with a combining mark, and for rare texts that
    look like another one, which is returned instead: ``50%-70 הנחה`` and ``70-50% הנחה`` look alike.
    """
    return _convert(text, mirrored, line, _split_visual)


_Split = Callable[[str], list[_Part]]


def _order(text: str, line: LineDirection, split: _Split) -> list[int]:
    if not needs_reordering(text):
        return list(range(len(text)))
    return [index for part in _reorder(text, line, split) for index in part.indices]


def _convert(text: str, mirrored: Mapping[str, str], line: LineDirection, split: _Split) -> str:
    if not needs_reordering(text):
        return text
    pieces = []
    for part in _reorder(text, line, split):
        piece = "".join(text[index] for index in part.indices)
        pieces.append(mirrored.get(piece[0], piece[0]) + piece[1:] if part.mirrored else piece)
    return "".join(pieces)


def needs_reordering(text: str) -> bool:
    """Whether logical and visual order of a text may differ.

    They may differ without right-to-left letters too: Arabic numbers follow each other from right to left.
    """
    return not text.isascii() and any(bidirectional(character) in ("R", "AL", "AN") for character in text)


def _reorder(text: str, line: LineDirection, split: _Split) -> list[_Part]:
    parts = split(text)
    if line == "rtl":
        return [part if part.island else replace(part, mirrored=True) for part in reversed(parts)]
    ordered: list[_Part] = []
    while len(ordered) < len(parts):
        ordered += reversed(_first_run(text, parts[len(ordered) :]))
    return ordered


def _first_run(text: str, parts: list[_Part]) -> list[_Part]:
    """The parts up to the last right-to-left letter before an island or a bracket; else the first part alone."""
    last = 0
    if parts[0].classes & _RIGHT_TO_LEFT:
        for index, part in enumerate(parts):
            if part.island or text[part.indices[0]] in MIRRORED:
                break
            last = index if part.classes & _RIGHT_TO_LEFT else last
    return parts[: last + 1]


def _split_logical(text: str) -> list[_Part]:
    """Split a text in logical order into parts, with islands as large as possible.

    Whether islands join depends on their characters and on what is between them, not on their order. So a text has the
    same islands in logical and in visual order.
    """
    return _join_islands(_apply_rule_w2(_split_characters(text)))


def _split_visual(text: str) -> list[_Part]:
    """Split a text in visual order, which is read from its right end, into parts."""
    return _join_islands(_apply_rule_w2(_split_characters(text)[::-1])[::-1])


def _split_characters(text: str) -> list[_Part]:
    parts: list[_Part] = []
    for index, kind in enumerate(map(bidirectional, text)):
        if kind == "NSM" and parts:
            parts[-1] = replace(parts[-1], indices=(*parts[-1].indices, index))
        else:
            parts.append(_Part((index,), frozenset((kind,)), kind in ("L", "EN", "AN")))
    return parts


def _apply_rule_w2(parts: list[_Part]) -> list[_Part]:
    """Rule W2: European digits after an Arabic letter count as Arabic digits."""
    result, after_arabic = [], False
    for part in parts:
        if part.classes & _RIGHT_TO_LEFT:
            after_arabic = "AL" in part.classes
        result.append(replace(part, classes=frozenset(("EN*",))) if after_arabic and "EN" in part.classes else part)
    return result


def _join_islands(parts: list[_Part]) -> list[_Part]:
    parts = _join(_join(parts, _are_adjacent), _form_number)
    count = 0
    while len(parts) != count:  # a larger island may join with more parts
        count = len(parts)
        parts = _join(_join(_join_terminators(parts), _are_adjacent), _form_phrase)
    return parts


def _join_terminators(parts: list[_Part]) -> list[_Part]:
    """Rule W5: signs such as $ and % join European digits beside them."""
    joined: list[_Part] = []
    for is_number, group in groupby(
        parts, lambda part: part.classes == {"ET"} or (part.island and "EN" in part.classes)
    ):
        run = [*group]
        joined += [_merge(run)] if is_number and any(part.island for part in run) else run
    return joined


def _are_adjacent(one: _Part, between: list[_Part], other: _Part) -> bool:
    return not between


def _form_number(one: _Part, between: list[_Part], other: _Part) -> bool:
    """Rule W4: a single separator joins two numbers of the same kind of digits."""
    if len(between) != 1:
        return False
    (separator,) = between[0].classes
    european = "EN" in one.classes & other.classes
    arabic = all(part.classes & {"AN", "EN*"} for part in (one, other))
    return (separator == "CS" and (european or arabic)) or (separator == "ES" and european)


def _form_phrase(one: _Part, between: list[_Part], other: _Part) -> bool:
    """Rule N1: neutral characters join two Latin words; here also a Latin word and a European number."""
    classes = [part.classes & {"L", "EN", "EN*"} for part in (one, other)]
    return all(classes) and "L" in classes[0] | classes[1] and all(part.classes <= _NEUTRAL for part in between)


def _join(parts: list[_Part], can_join: Callable[[_Part, list[_Part], _Part], bool]) -> list[_Part]:
    """Join each island with the island before it, and the neutral parts between them, where ``can_join`` allows.

    A joined island may join with another one before it.
    """
    joined: list[_Part] = []
    for part in parts:
        joined.append(part)
        while joined[-1].island:
            before = len(joined) - 2
            while before >= 0 and not joined[before].island and joined[before].classes <= _NEUTRAL:
                before -= 1
            run = joined[max(before, 0) :]
            if before < 0 or not run[0].island or not can_join(run[0], run[1:-1], run[-1]):
                break
            joined[before:] = [_merge(run)]
    return joined


def _merge(parts: list[_Part]) -> _Part:
    indices = tuple(index for part in parts for index in part.indices)
    return _Part(indices, frozenset().union(*(part.classes for part in parts)), True)
