"""Lists of words as automata: which words may be read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dptr.text.automaton import Automaton, make_automaton
from dptr.text.charset import Charset, show
from dptr.utils.errors import UserError
from dptr.utils.reading import read_file

_SHOWN = 10  # characters that an error names


def load_words(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file that are not blank.

    Raises:
        UserError: the file is unreadable, not UTF-8, or has no such line.
    """
    try:
        lines = read_file(path).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"lexicon {path}: {error.strerror}; check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"lexicon {path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    words = [line for line in lines if line.strip()]
    if not words:
        raise UserError(f"lexicon {path}: no words; write one a line")
    return words


def spell_words(words: Iterable[str], charset: Charset, max_length: int, name: str) -> list[str]:
    """Words as a charset spells them (``Charset.fold``), sorted, each once.

    Args:
        name: of the list, for errors.

    Raises:
        UserError: no words, a word without characters, characters outside the charset (they are named), or a word of
            more than ``max_length`` characters.
    """
    spelled = sorted({charset.fold(charset.normalize(word)) for word in words})
    if not spelled:
        raise UserError(f"{name}: no words; pass at least one")
    if not spelled[0]:
        raise UserError(f"{name}: a word without characters; remove it")
    outside = sorted({character for word in spelled for character in word if character not in charset})
    if outside:
        more = f" and {len(outside) - _SHOWN} more" if len(outside) > _SHOWN else ""
        example = next(word for word in spelled if outside[0] in word)
        raise UserError(
            f"{name}: {show(''.join(outside[:_SHOWN]))}{more} not among the {len(charset)} characters of charset "
            f"'{charset.name}' (first in {show(example)}); remove such words, or pass another model"
        )
    longest = max(spelled, key=len)
    if len(longest) > max_length:
        raise UserError(
            f"{name}: {show(longest)} has {len(longest)} characters, the model reads {max_length} at most; remove it"
        )
    return spelled


def compile_words(words: Iterable[str], charset: Charset) -> Automaton:
    """The minimal automaton of words of a charset: a trie in which states with the same endings are one.

    Symbols are 1 to n, in the order of the charset.
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
    merged: dict[tuple[bool, tuple[tuple[int, int], ...]], int] = {}
    numbers = [0] * len(trie)
    for state in reversed(range(len(trie))):  # a state's number is below those of the states behind it
        edges = tuple(sorted((symbol, numbers[target]) for symbol, target in trie[state].items()))
        numbers[state] = merged.setdefault((accepting[state], edges), len(merged))
    last = len(merged) - 1  # the start was numbered last
    return make_automaton(
        [[(1 << symbol, last - target) for symbol, target in edges] for _, edges in reversed(merged)],
        [accepts for accepts, _ in reversed(merged)],
    )
