r"""Regular expressions as automata: the part of Python's ``re`` that describes a regular language.

Literals, ``.``, classes (``[A-Z0-9]``, ``[^aeiou]``), ``\d \w \s \D \W \S``, escaped signs, groups (``(...)``,
``(?:...)``), ``|``, and ``* + ? {m} {m,} {,n} {m,n}``. An expression describes whole words, as ``re.fullmatch`` takes
it: ``^`` at the beginning and ``$`` at the end change nothing. Everything else is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from unicodedata import normalize

from dptr.text.automaton import Automaton, Nondeterministic, TooLarge, determinize
from dptr.text.charset import VARIANTS, Charset, show
from dptr.utils.errors import UserError

_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": str.isdecimal,
    "w": lambda character: character.isalnum() or character == "_",
    "s": str.isspace,
}
_REFUSED = {
    "?=": "lookahead", "?!": "lookahead", "?<=": "lookbehind", "?<!": "lookbehind", "?>": "an atomic group",
    "?P=": "a backreference", "?P<": "a named group", "?(": "a conditional group", "?#": "a comment",
}  # fmt: skip
_COUNTS = re.compile(r"\{(?=[0-9,])(?P<least>[0-9]*)(?P<comma>,(?P<most>[0-9]*))?\}")
_MOST_REPEATS = 1000
_DEEPEST = 50  # groups within each other


@dataclass(frozen=True)
class _Symbols:
    """One character of a set."""

    mask: int


@dataclass(frozen=True)
class _Sequence:
    parts: tuple[_Node, ...]


@dataclass(frozen=True)
class _Choice:
    parts: tuple[_Node, ...]


@dataclass(frozen=True)
class _Repeat:
    """``most`` None: any number."""

    part: _Node
    least: int
    most: int | None


_Node = _Symbols | _Sequence | _Choice | _Repeat


def compile_expression(pattern: str, charset: Charset, longest: int | None = None) -> Automaton:
    """The minimal automaton of the words over ``charset`` that a regular expression matches as a whole.

    Symbols are 1 to n, in the order of the charset. A letter that the charset has in its other case alone stands for
    that (``Charset.fold``); other characters that it lacks match nothing. The expression is brought into NFC first.

    Args:
        longest: characters of a word that can be read: which longer ones match is undefined then. None = all count.

    Raises:
        UserError: the expression is broken or not of this subset (the position is named), matches no word over the
            charset, or needs too many states.
    """
    parser = _Parser(normalize("NFC", pattern), charset)
    tree = parser.parse()
    automaton = Nondeterministic()
    try:
        start, end = automaton.add_state(), automaton.add_state()
        _connect(automaton, tree, start, end)
        compiled = determinize(automaton, start, end, longest)
        least = 0 if len(compiled.accepting) else automaton.shortest(start, end)
    except TooLarge:
        raise UserError(f"pattern '{pattern}': too large; repeat less, or write it with fewer choices") from None
    if least is None:
        lacking = f", which lacks {show(''.join(sorted(parser.lacking)))}" if parser.lacking else ""
        raise UserError(
            f"pattern '{pattern}': matches no word over the {len(charset)} characters of charset '{charset.name}'"
            f"{lacking}; pass another pattern, or another model"
        )
    if least:
        raise UserError(
            f"pattern '{pattern}': its shortest words have {least} characters, the model reads {longest} at most; "
            "pass a pattern of shorter words"
        )
    return compiled


def _connect(automaton: Nondeterministic, node: _Node, start: int, end: int) -> None:
    """Lead from ``start`` to ``end`` by the words of a node (Thompson's construction)."""
    match node:
        case _Symbols(mask):
            automaton.masks[start].append((mask, end))
        case _Sequence(parts):
            for part in parts:
                following = automaton.add_state()
                _connect(automaton, part, start, following)
                start = following
            automaton.silent[start].append(end)
        case _Choice(parts):
            for part in parts:
                _connect(automaton, part, start, end)
        case _Repeat(part, least, most):
            for _ in range(least):
                following = automaton.add_state()
                _connect(automaton, part, start, following)
                start = following
            if most is None:
                loop, back = automaton.add_state(), automaton.add_state()
                automaton.silent[start].append(loop)
                _connect(automaton, part, loop, back)
                automaton.silent[back].append(loop)
                start = loop
            for _ in range((most or least) - least):
                automaton.silent[start].append(end)
                following = automaton.add_state()
                _connect(automaton, part, start, following)
                start = following
            automaton.silent[start].append(end)


class _Parser:
    """Reads an expression by recursive descent.

    Attributes:
        place: where it is.
        depth: how many groups are open.
        lacking: literals that the charset does not have.
    """

    def __init__(self, pattern: str, charset: Charset) -> None:
        self.pattern = pattern
        self.place = 0
        self.depth = 0
        self.lacking: set[str] = set()
        self.forms = [_forms(character, charset) for character in charset.characters]
        self.every = self._mask(lambda character: True)

    def parse(self) -> _Node:
        tree = self._choice()
        if self.place < len(self.pattern):
            raise self._broken("')' without '('")
        return tree

    def _choice(self) -> _Node:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        if not self.depth:
            self._take("^")
        while self.place < len(self.pattern) and self._next() not in "|)":
            if self._next() == "$" and not self.depth and self.pattern[self.place + 1 :][:1] in ("", "|"):
                self.place += 1
                break
            parts.append(self._repeats(self._atom()))
        return _Sequence(tuple(parts))

    def _atom(self) -> _Node:
        begin, character = self.place, self._read()
        match character:
            case "(":
                return self._group(begin)
            case "[":
                return _Symbols(self._set(begin))
            case ".":
                return _Symbols(self._mask(lambda each: each != "\n"))
            case "\\":
                return _Symbols(self._escape(begin)[0])
            case "^" | "$":
                where = "beginning" if character == "^" else "end"
                raise self._broken(
                    f"'{character}' elsewhere than at the {where}; a pattern describes whole words", begin
                )
            case "*" | "+" | "?":
                raise self._broken(f"'{character}' with nothing to repeat", begin)
        return _Symbols(self._literal(character))

    def _group(self, begin: int) -> _Node:
        rest = self.pattern[self.place :]
        if rest.startswith("?") and not rest.startswith("?:"):
            kind = next((name for sign, name in _REFUSED.items() if rest.startswith(sign)), "a flag")
            raise self._broken(f"{kind}, '({rest[:2]}', is not understood here; use '(...)'", begin)
        self.place += 2 * rest.startswith("?:")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._broken(f"more than {_DEEPEST} groups within each other", begin)
        inner = self._choice()
        self.depth -= 1
        if not self._take(")"):
            raise self._broken("'(' without ')'", begin)
        return inner

    def _repeats(self, part: _Node) -> _Node:
        begin = self.place
        counts = self._counts()
        if counts is None:
            return part
        after = self.pattern[self.place : self.place + 1]
        if after and after in "?+":
            kind = "lazy" if after == "?" else "possessive"
            raise self._broken(
                f"a {kind} repeat, '{self.pattern[begin : self.place + 1]}'; leave its last sign out", begin
            )
        again = self.place
        if self._counts() is not None:
            raise self._broken("a repeat of a repeat; put the first into '(...)'", again)
        return _Repeat(part, *counts)

    def _counts(self) -> tuple[int, int | None] | None:
        """How often what stands before is repeated, if a repeat follows; in re too, ``{`` may be a literal."""
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return counts
        found = _COUNTS.match(self.pattern, self.place)
        if found is None:
            return None
        least = int(found["least"] or 0)
        most = least if found["comma"] is None else int(found["most"]) if found["most"] else None
        if max(least, most or 0) > _MOST_REPEATS:
            raise self._broken(f"'{found[0]}' repeats more than {_MOST_REPEATS} times")
        if most is not None and most < least:
            raise self._broken(f"'{found[0]}': the second number is below the first")
        self.place = found.end()
        return least, most

    def _set(self, begin: int) -> int:
        negated = self._take("^")
        mask = 0
        first = True
        while first or not self._take("]"):
            if self.place >= len(self.pattern):
                raise self._broken("'[' without ']'", begin)
            place, (own, low) = self.place, self._member(begin)
            first = False
            if self._next() != "-" or self.pattern[self.place + 1 :][:1] in ("]", ""):
                mask |= own
                continue
            self.place += 1
            _, high = self._member(begin)
            if not low or not high or high < low:
                raise self._broken(f"a range that is none, '{self.pattern[place : self.place]}'", place)
            mask |= self._mask(lambda each, low=low, high=high: low <= each <= high)  # type: ignore[misc]
        return self.every & ~mask if negated else mask

    def _member(self, begin: int) -> tuple[int, str]:
        """A member of a class: its symbols, and the character that may begin or end a range, if it is one."""
        if self.place >= len(self.pattern):
            raise self._broken("'[' without ']'", begin)
        place, character = self.place, self._read()
        return self._escape(place) if character == "\\" else (self._literal(character), character)

    def _escape(self, begin: int) -> tuple[int, str]:
        if self.place >= len(self.pattern):
            raise self._broken("'\\' at the end", begin)
        character = self._read()
        if character.lower() in _CLASSES:
            mask = self._mask(_CLASSES[character.lower()])
            return (self.every & ~mask if character.isupper() else mask), ""
        if character.isascii() and character.isalnum():
            kind = "a backreference" if character.isdecimal() else "this escape"
            raise self._broken(f"{kind}, '\\{character}', is not understood here", begin)
        return self._literal(character), character

    def _literal(self, character: str) -> int:
        mask = self._mask(lambda each: each == character)
        if not mask:
            self.lacking.add(character)
        return mask

    def _mask(self, holds: Callable[[str], bool]) -> int:
        """The symbols of the characters of which some form is as it should be."""
        return sum(1 << symbol for symbol, forms in enumerate(self.forms, 1) if any(map(holds, forms)))

    def _next(self) -> str:
        return self.pattern[self.place : self.place + 1]

    def _read(self) -> str:
        self.place += 1
        return self.pattern[self.place - 1]

    def _take(self, sign: str) -> bool:
        taken = self._next() == sign
        self.place += taken
        return taken

    def _broken(self, what: str, place: int | None = None) -> UserError:
        at = self.place if place is None else place
        return UserError(f"pattern '{self.pattern}': at position {at + 1}: {what}")


def _forms(character: str, charset: Charset) -> set[str]:
    """What may be written in a pattern for a character: itself, and forms that the charset spells as it."""
    written = {character, character.lower(), character.upper(), *(v for v in VARIANTS if VARIANTS[v] == character)}
    return {form for form in written if len(form) == 1 and (form == character or charset.fold(form) == character)}
