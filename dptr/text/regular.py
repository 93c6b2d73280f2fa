r"""Regular expressions, compiled to automata.

The syntax is the part of Python's ``re`` that describes regular languages: literals, ``.``, classes (``[A-Z0-9]``,
``[^aeiou]``), ``\d \w \s \D \W \S``, escaped signs, groups (``(...)``, ``(?:...)``), ``|``, and
``* + ? {m} {m,} {,n} {m,n}``. An expression describes whole words, as in ``re.fullmatch``, so ``^`` at the beginning
and ``$`` at the end change nothing. Any other construct raises an error that names it.
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
_UNSUPPORTED = {
    "?=": "lookahead", "?!": "lookahead", "?<=": "lookbehind", "?<!": "lookbehind", "?>": "an atomic group",
    "?P=": "a backreference", "?P<": "a named group", "?(": "a conditional group", "?#": "a comment",
}  # fmt: skip
_COUNTS = re.compile(r"\{(?=[0-9,])(?P<least>[0-9]*)(?P<comma>,(?P<most>[0-9]*))?\}")
_MAX_REPEATS = 1000
_MAX_DEPTH = 50  # of nested groups


@dataclass(frozen=True)
class _Symbols:
    """Any one symbol of a set: bit s of ``mask`` stands for symbol s."""

    mask: int


@dataclass(frozen=True)
class _Sequence:
    parts: tuple[_Node, ...]


@dataclass(frozen=True)
class _Choice:
    parts: tuple[_Node, ...]


@dataclass(frozen=True)
class _Repeat:
    """``part`` repeated ``least`` to ``most`` times; ``most`` None means without limit."""

    part: _Node
    least: int
    most: int | None


_Node = _Symbols | _Sequence | _Choice | _Repeat


def compile_expression(pattern: str, charset: Charset, longest: int | None = None) -> Automaton:
    """The minimal automaton of the words over ``charset`` that a regular expression matches as a whole.

    The expression is normalized to NFC first. A letter that the charset has only in the other case stands for that one
    (``Charset.fold``). Other characters that the charset lacks match nothing.

    Args:
        pattern: a regular expression.
        charset: n characters; the symbols of the automaton are 1 to n, in their order.
        longest: the most characters of a word that the model reads. It is undefined which longer words the automaton
            accepts. None = no limit.

    Raises:
        UserError: the expression is malformed or not in this subset (the error names the position), matches no word
            over the charset or only words longer than ``longest``, or needs too many states.
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
        missing = f", which lacks {show(''.join(sorted(parser.missing)))}" if parser.missing else ""
        raise UserError(
            f"pattern '{pattern}': matches no word over the {len(charset)} characters of charset '{charset.name}'"
            f"{missing}; pass another pattern, charset, or model"
        )
    if least:
        raise UserError(
            f"pattern '{pattern}': its shortest words have {least} characters, the model reads {longest} at most; "
            "pass a pattern of shorter words"
        )
    return compiled


def _connect(automaton: Nondeterministic, node: _Node, start: int, end: int) -> None:
    """Connect ``start`` and ``end`` by transitions that spell the words of a node (Thompson's construction)."""
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
    """A recursive descent parser of expressions.

    Attributes:
        pattern: the expression.
        position: index of the next character in the expression.
        depth: the number of open groups.
        missing: literals that the charset lacks.
        spellings: for each character of the charset, what may stand for it in an expression.
        all_symbols: the set of all symbols.
    """

    def __init__(self, pattern: str, charset: Charset) -> None:
        self.pattern = pattern
        self.position = 0
        self.depth = 0
        self.missing: set[str] = set()
        self.spellings = [_spellings(character, charset) for character in charset.characters]
        self.all_symbols = self._mask(lambda character: True)

    def parse(self) -> _Node:
        tree = self._parse_choice()
        if self.position < len(self.pattern):
            raise self._error("')' without '('")
        return tree

    def _parse_choice(self) -> _Node:
        parts = [self._parse_sequence()]
        while self._accept("|"):
            parts.append(self._parse_sequence())
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def _parse_sequence(self) -> _Node:
        parts: list[_Node] = []
        if not self.depth:
            self._accept("^")
        while self.position < len(self.pattern) and self._peek() not in "|)":
            if self._peek() == "$" and not self.depth and self.pattern[self.position + 1 :][:1] in ("", "|"):
                self.position += 1
                break
            parts.append(self._parse_repeat(self._parse_atom()))
        return _Sequence(tuple(parts))

    def _parse_atom(self) -> _Node:
        start, character = self.position, self._advance()
        match character:
            case "(":
                return self._parse_group(start)
            case "[":
                return _Symbols(self._parse_class(start))
            case ".":
                return _Symbols(self._mask(lambda each: each != "\n"))
            case "\\":
                return _Symbols(self._parse_escape(start)[0])
            case "^" | "$":
                where = "beginning" if character == "^" else "end"
                raise self._error(
                    f"'{character}' elsewhere than at the {where}; a pattern describes whole words", start
                )
            case "*" | "+" | "?":
                raise self._error(f"'{character}' with nothing to repeat", start)
        return _Symbols(self._literal(character))

    def _parse_group(self, start: int) -> _Node:
        rest = self.pattern[self.position :]
        if rest.startswith("?") and not rest.startswith("?:"):
            kind = next((name for sign, name in _UNSUPPORTED.items() if rest.startswith(sign)), "a flag")
            raise self._error(f"{kind}, '({rest[:2]}', is not understood here; use '(...)'", start)
        self.position += 2 * rest.startswith("?:")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error(f"more than {_MAX_DEPTH} groups within each other", start)
        inner = self._parse_choice()
        self.depth -= 1
        if not self._accept(")"):
            raise self._error("'(' without ')'", start)
        return inner

    def _parse_repeat(self, part: _Node) -> _Node:
        start = self.position
        counts = self._parse_counts()
        if counts is None:
            return part
        after = self.pattern[self.position : self.position + 1]
        if after and after in "?+":
            kind = "lazy" if after == "?" else "possessive"
            raise self._error(
                f"a {kind} repeat, '{self.pattern[start : self.position + 1]}'; leave its last sign out", start
            )
        second = self.position
        if self._parse_counts() is not None:
            raise self._error("a repeat of a repeat; put the first into '(...)'", second)
        return _Repeat(part, *counts)

    def _parse_counts(self) -> tuple[int, int | None] | None:
        """Parse a repeat: its least and most counts, or None if none follows. As in ``re``, ``{`` may be a literal."""
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._accept(sign):
                return counts
        braces = _COUNTS.match(self.pattern, self.position)
        if braces is None:
            return None
        least = int(braces["least"] or 0)
        most = least if braces["comma"] is None else int(braces["most"]) if braces["most"] else None
        if max(least, most or 0) > _MAX_REPEATS:
            raise self._error(f"'{braces[0]}' repeats more than {_MAX_REPEATS} times")
        if most is not None and most < least:
            raise self._error(f"'{braces[0]}': the second number is below the first")
        self.position = braces.end()
        return least, most

    def _parse_class(self, start: int) -> int:
        negated = self._accept("^")
        mask = 0
        first = True
        while first or not self._accept("]"):
            if self.position >= len(self.pattern):
                raise self._error("'[' without ']'", start)
            position, (members, low) = self.position, self._parse_member(start)
            first = False
            if self._peek() != "-" or self.pattern[self.position + 1 :][:1] in ("]", ""):
                mask |= members
                continue
            self.position += 1
            _, high = self._parse_member(start)
            if not low or not high or high < low:
                raise self._error(f"not a range, '{self.pattern[position : self.position]}'", position)
            mask |= self._mask(lambda each, low=low, high=high: low <= each <= high)  # type: ignore[misc]
        return self.all_symbols & ~mask if negated else mask

    def _parse_member(self, start: int) -> tuple[int, str]:
        """Parse a member of a class: its symbols, and its character if that may begin or end a range, else ""."""
        if self.position >= len(self.pattern):
            raise self._error("'[' without ']'", start)
        position, character = self.position, self._advance()
        return self._parse_escape(position) if character == "\\" else (self._literal(character), character)

    def _parse_escape(self, start: int) -> tuple[int, str]:
        if self.position >= len(self.pattern):
            raise self._error("'\\' at the end", start)
        character = self._advance()
        if character.lower() in _CLASSES:
            mask = self._mask(_CLASSES[character.lower()])
            return (self.all_symbols & ~mask if character.isupper() else mask), ""
        if character.isascii() and character.isalnum():
            kind = "a backreference" if character.isdecimal() else "this escape"
            raise self._error(f"{kind}, '\\{character}', is not understood here", start)
        return self._literal(character), character

    def _literal(self, character: str) -> int:
        mask = self._mask(lambda each: each == character)
        if not mask:
            self.missing.add(character)
        return mask

    def _mask(self, matches: Callable[[str], bool]) -> int:
        """The set of symbols whose characters have a spelling that ``matches``."""
        return sum(1 << symbol for symbol, spellings in enumerate(self.spellings, 1) if any(map(matches, spellings)))

    def _peek(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def _advance(self) -> str:
        self.position += 1
        return self.pattern[self.position - 1]

    def _accept(self, sign: str) -> bool:
        accepted = self._peek() == sign
        self.position += accepted
        return accepted

    def _error(self, message: str, position: int | None = None) -> UserError:
        at = self.position if position is None else position
        return UserError(f"pattern '{self.pattern}': at position {at + 1}: {message}")


def _spellings(character: str, charset: Charset) -> set[str]:
    """What may stand for a character in a pattern: itself, and single characters that the charset folds to it."""
    candidates = {character, character.lower(), character.upper(), *(v for v in VARIANTS if VARIANTS[v] == character)}
    return {
        spelling
        for spelling in candidates
        if len(spelling) == 1 and (spelling == character or charset.fold(spelling) == character)
    }
