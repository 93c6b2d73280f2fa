"""Lexicons, lists of the words that may be read, and the automata that accept them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from dptr.text.automaton import Automaton, make_automaton
from dptr.text.charset import Charset, show
from dptr.utils.errors import UserError
from dptr.utils.reading import read_named_text

_LISTED = 10  # the most characters that an error lists


def load_words(path: str | Path) -> list[str]:
    """Load the words of a UTF-8 file: its non-blank lines.

    Raises:
        UserError: the file is unreadable, not UTF-8, or has no such line.
    """
    words = [line for line in read_named_text(path, "lexicon").splitlines() if line.strip()]
    if not words:
        raise UserError(f"lexicon {path}: no words; write one a line")
    return words


class FileWords(tuple[str, ...]):
    """The words of a file, for a process that does not have the file. Errors name it.

    Attributes:
        path: of the file.
    """

    path: str

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load the words of a file.

        Raises:
            UserError: see ``load_words``.
        """
        words = cls(load_words(path))
        words.path = str(path)
        return words


def spell_words(words: Iterable[str], charset: Charset, max_length: int, name: str) -> list[str]:
    """The distinct words, normalized and folded to a charset (``Charset.fold``), sorted.

    Args:
        max_length: the most characters of a word.
        name: name of the list, for errors.

    Raises:
        UserError: no words, a word without characters, characters outside the charset (the error lists them), or a word
            of more than ``max_length`` characters.
    """
    listed = {charset.fold(charset.normalize(word)): word for word in words}
    spelled = sorted(listed)
    if not spelled:
        raise UserError(f"{name}: no words; pass at least one")
    if not spelled[0]:
        raise UserError(f"{name}: a word without characters; remove it")
    outside = sorted({character for word in spelled for character in word if character not in charset})
    if outside:
        more = f" and {len(outside) - _LISTED} more" if len(outside) > _LISTED else ""
        example = next(word for word in spelled if outside[0] in word)
        raise UserError(
            f"{name}: {show(''.join(outside[:_LISTED]))}{more} not among the {len(charset)} characters of charset "
            f"'{charset.name}' (first in {show(listed[example])}); remove such words, or pass another charset or model"
        )
    longest = max(spelled, key=len)
    if len(longest) > max_length:
        raise UserError(
            f"{name}: {show(longest)} has {len(longest)} characters, the model reads {max_length} at most; remove it"
        )
    return spelled


def compile_words(words: Iterable[str], charset: Charset) -> Automaton:
    """The minimal automaton that accepts the given words: a trie whose states with the same endings are merged.

    Args:
        words: words with characters of ``charset`` only.
        charset: n characters; the symbols of the automaton are 1 to n, in their order.
    """
    trie: list[dict[int, int]] = [{}]
    accepting = [False]
    for word in words:
        state = 0
        for character in word:
            symbol = charset.index(character) + 1
            if symbol not in trie[state]:
                trie[state][symbol] = len(trie)
                trie.append({})
                accepting.append(False)
            state = trie[state][symbol]
        accepting[state] = True
    states: dict[tuple[bool, tuple[tuple[int, int], ...]], int] = {}
    state_numbers = [0] * len(trie)
    for state in reversed(range(len(trie))):  # the states that a state leads to have larger indices
        edges = tuple(sorted((symbol, state_numbers[target]) for symbol, target in trie[state].items()))
        state_numbers[state] = states.setdefault((accepting[state], edges), len(states))
    last = len(states) - 1  # the number of the start, which comes last
    return make_automaton(
        [[(1 << symbol, last - target) for symbol, target in edges] for _, edges in reversed(states)],
        [accepts for accepts, _ in reversed(states)],
    )
