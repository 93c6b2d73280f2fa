"""Constrained reading: the likeliest word in a crop that matches a pattern, is in a lexicon, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from unicodedata import bidirectional

import numpy as np
from jaxtyping import Float, UInt8

from dptr.inference.backend import Backend
from dptr.inference.beam import Rules, search_words
from dptr.inference.confidence import apply_temperature
from dptr.inference.ctc_search import Paths, compose, compose_words, find_complete_paths, find_paths
from dptr.inference.restrict import Restriction, keep_characters
from dptr.inference.trellis import FoundWord, Layer, find_words, unroll
from dptr.text.automaton import Automaton, steps_to_end
from dptr.text.charset import Charset, show
from dptr.text.direction import has_leftward
from dptr.text.lexicon import FileWords, compile_words, load_words, spell_words
from dptr.text.named_patterns import find_expression
from dptr.text.regular import compile_expression
from dptr.utils.errors import UserError

LARGEST_TABLE = 100_000_000  # entries of 4 bytes each

Lexicon = str | Path | Iterable[str] | None
"""A file with one word per line, or the words; None = any word."""


@dataclass(frozen=True, eq=False)
class Constraint:
    """The words that may be read.

    Attributes:
        automaton: of the words; its symbols are the model's classes.
        restriction: to characters of the words.
        trellis: of the words up to the model's ``max_length``; at least one layer.
    """

    automaton: Automaton
    restriction: Restriction
    trellis: list[Layer]

    def read(self, backend: Backend, crops: UInt8[np.ndarray, "n h w 3"]) -> list[FoundWord]:
        """The likeliest word in each crop, at the model's temperature.

        Autoregressive models search during decoding, so that each character is predicted from the ones before it. For
        other models, the word is searched in the probabilities of their unconstrained reading.
        """
        if backend.searches == "prefixes":
            return search_words(backend, crops, replace(self.rules, temperature=backend.temperature))
        if backend.searches != "paths":
            rows = apply_temperature(backend.probabilities(crops), backend.temperature)
            return find_words(self.restriction.apply(rows), self.trellis)
        rows = self.restriction.apply(apply_temperature(backend.paths(crops), backend.temperature))
        return [replace(each, path=path) for each, path in zip(self.find_paths(rows), rows, strict=True)]

    def find_paths(self, rows: Float[np.ndarray, "n t classes"]) -> list[FoundWord]:
        """The likeliest word of each of n crops in the probabilities of a CTC network.

        A path of t positions spells at most t characters. If the language has words of that length, none of them is too
        long, and the automaton is searched, which is much smaller than the trellis.
        """
        longest = len(self.trellis) - 1
        found: list[FoundWord | None] = [None] * len(rows)
        if rows.shape[1] <= longest:
            found = find_complete_paths(rows, self.short_paths, steps_to_end(self.automaton, longest))
        is_open = [each is None for each in found]
        if any(is_open):
            others = iter(find_paths(_add_blanks(rows[is_open], 2 * longest + 1), self.paths))
            return [next(others) if each is None else each for each in found]
        return [each for each in found if each is not None]

    @cached_property
    def paths(self) -> Paths:
        """The trellis for CTC."""
        return compose(self.trellis)

    @cached_property
    def short_paths(self) -> Paths:
        """The automaton for CTC, for paths that cannot spell longer words than the model reads."""
        return compose_words(self.automaton)

    @cached_property
    def rules(self) -> Rules:
        """The automaton as tables for beam search, at temperature 1.

        Raises:
            UserError: the tables would be too large.
        """
        states, classes = len(self.automaton.accepting), len(self.restriction.keep)
        if (states + 1) * classes > LARGEST_TABLE:
            raise UserError(
                f"pattern or lexicon: {states} states by {classes} classes are more than {LARGEST_TABLE:,}; pass fewer "
                "words, or a simpler pattern"
            )
        following = np.full((states + 1, classes), -1, np.int32)
        following[self.automaton.sources, self.automaton.symbols] = self.automaton.targets
        following[:states, 0][self.automaton.accepting] = states
        following[states, 0] = states
        missing = np.append(steps_to_end(self.automaton, states), -1)
        return Rules(following, missing, self.restriction, 1.0)


def make_constraint(
    charset: Charset,
    max_length: int,
    pattern: str = "",
    lexicon: Lexicon = None,
    allowed: Charset | None = None,
    write: Callable[[str], str] | None = None,
) -> Constraint:
    """The words over a model's charset that match a pattern, are in a lexicon, or both.

    A letter that the words have in only one case is read as that case, whatever case the model sees.

    Args:
        charset, max_length: of the model.
        pattern: see ``dptr.text.named_patterns.find_expression``; empty = any.
        lexicon: see ``Lexicon``.
        allowed: characters to read; None = all of the model's.
        write: converts a word to the model's order of characters (``dptr.text.tokenizer.Tokenizer.write``); None = the
            model writes in logical order.

    Raises:
        UserError: the pattern is invalid, or matches no word that the model could write; no word of the lexicon
            matches the pattern; the model reads none of ``allowed``; a pattern without a lexicon matches right-to-left
            letters or Arabic digits beside signs, and the model writes in visual order; see ``find_expression``,
            ``load_words``, ``spell_words``.
    """
    readable = charset
    if allowed is not None:
        readable = Charset(allowed.name, tuple(character for character in charset.characters if character in allowed))
    automaton = compile_expression(find_expression(pattern), readable, max_length) if pattern else None
    if lexicon is not None:
        automaton = _list_words(lexicon, readable, max_length, automaton, pattern, write)
    elif automaton is not None and write is not None:
        _check_direction(automaton, readable, pattern)
    if automaton is None:
        raise ValueError("neither a pattern nor a lexicon")
    classes = np.array([0, *(1 + charset.index(character) for character in readable.characters)])
    automaton = replace(automaton, symbols=classes[automaton.symbols])
    used = {charset.characters[symbol - 1] for symbol in set(automaton.symbols.tolist())}
    kept_characters = [each for each in readable.characters if each in used or each.swapcase() not in used]
    return Constraint(automaton, keep_characters(charset, kept_characters), unroll(automaton, max_length))


def _add_blanks(rows: Float[np.ndarray, "n t classes"], length: int) -> Float[np.ndarray, "n k classes"]:
    """Pad paths with certain blanks to at least ``length`` positions, since a short path cannot spell a long word."""
    missing = max(0, length - rows.shape[1])
    blanks = np.zeros((len(rows), missing, rows.shape[2]), rows.dtype)
    blanks[..., 0] = 1
    return np.concatenate((rows, blanks), axis=1)


def _list_words(
    lexicon: str | Path | Iterable[str],
    charset: Charset,
    max_length: int,
    pattern: Automaton | None,
    pattern_text: str,
    write: Callable[[str], str] | None,
) -> Automaton:
    path = lexicon.path if isinstance(lexicon, FileWords) else lexicon
    source = f"lexicon {path}" if isinstance(path, str | Path) else "lexicon"
    listed = load_words(lexicon) if isinstance(lexicon, str | Path) else lexicon
    words = spell_words(listed, charset, max_length, source)
    if pattern is not None:
        matching = [word for word in words if pattern.accepts([1 + charset.index(each) for each in word])]
        if not matching:
            raise UserError(
                f"{source}: none of its {len(words)} words matches the pattern '{pattern_text}'; leave one of them out"
            )
        words = matching
    return compile_words(words if write is None else map(write, words), charset)


def _check_direction(automaton: Automaton, charset: Charset, pattern: str) -> None:
    """Check that a model that writes from left to right writes the words of a pattern in reading order.

    It does not write right-to-left letters in that order, nor Arabic numbers next to signs.

    Raises:
        UserError: some words may be in another order.
    """
    kinds = {symbol: bidirectional(charset.characters[symbol - 1]) for symbol in set(automaton.symbols.tolist())}
    leftward = [symbol for symbol in kinds if has_leftward(charset.characters[symbol - 1])]
    if leftward:
        example = show(charset.characters[min(leftward) - 1])
        raise UserError(
            f"pattern '{pattern}': matches letters that run from right to left, such as {example}, and this model "
            "writes from left to right; pass a list of words (--lexicon), or a pattern without such letters"
        )
    if "AN" not in kinds.values():
        return
    edges = [*zip(automaton.sources.tolist(), automaton.symbols.tolist(), automaton.targets.tolist(), strict=True)]
    before: dict[int, set[str]] = {0: {""}}  # classes before and behind each state; "" = none
    behind = {int(state): {""} for state in np.flatnonzero(automaton.accepting)}
    for source, symbol, target in edges:
        before.setdefault(target, set()).add(kinds[symbol])
        behind.setdefault(source, set()).add(kinds[symbol])
    for source, symbol, target in edges:
        between = before[source] | behind[target] == {"AN"}  # a separator within one number
        if kinds[symbol] not in ("AN", "EN") and not (kinds[symbol] == "CS" and between):
            example = show(charset.characters[symbol - 1])
            raise UserError(
                f"pattern '{pattern}': matches Arabic digits and {example}, beside which numbers follow each other "
                "from right to left, and this model writes from left to right; pass a list of words (--lexicon), [0-9] "
                "for other digits, or a pattern of one number, such as '[٠-٩]+/[٠-٩]+'"
            )
