"""Parts of characters: jamo of a Hangul syllable, letter and accent, components of a Han character.

Thousands of characters share a few dozen parts. With ``dptr.training.shared_rows``, a rare character learns from common
ones with the same parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
from jaxtyping import Float32

from dptr.utils.errors import UserError
from dptr.utils.reading import LARGEST_SETTINGS, read_file

UNICODE = "unicode"  # canonical decomposition: 각 is ᄀ ᅡ ᆨ, é is e and U+0301


def read_decomposition(source: str, characters: Sequence[str]) -> dict[str, str]:
    """The parts of each character; a character that cannot be decomposed is its own part.

    Args:
        source: ``unicode``, the canonical decomposition (NFD, Unicode Standard Annex #15), or the path of a UTF-8 file
            with a character, a tab, and its parts, one code point each, in every line. Characters that the file lacks
            are decomposed by Unicode.

    Raises:
        UserError: the file is unreadable, is not UTF-8, has lines in another format, or repeats a character.
    """
    listed = {} if source == UNICODE else _read(Path(source))
    return {character: listed.get(character) or normalize("NFD", character) for character in characters}


def part_weights(parts: Mapping[str, str]) -> tuple[Float32[np.ndarray, "n p"], list[str]]:
    """The weight of each of p shared parts in each of n characters, and these parts.

    A part is shared if two or more characters have it. Each occurrence of a shared part in a character with k of them
    has weight 1/sqrt(k), so that a sum of independent parts has the variance of one. The row of a character without
    shared parts is zero.
    """
    owners = Counter(part for own in parts.values() for part in set(own))
    shared = sorted(part for part, count in owners.items() if count > 1)
    column = {part: number for number, part in enumerate(shared)}
    weights = np.zeros((len(parts), len(shared)), np.float32)
    for row, own in enumerate(parts.values()):
        places = [column[part] for part in own if part in column]
        for place in places:
            weights[row, place] += len(places) ** -0.5
    return weights, shared


def _read(path: Path) -> dict[str, str]:
    try:
        text = read_file(path, LARGEST_SETTINGS).decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            f"decomposition '{path}': {error.strerror}; pass '{UNICODE}' or a file with a character, a tab, and its "
            "parts in every line"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"decomposition {path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        character, tab, parts = line.partition("\t")
        if len(character) != 1 or not tab or not parts or any(part.isspace() for part in parts):
            raise UserError(
                f"decomposition {path}, line {number}: {line[:40]!r}; write one character, a tab, and its parts "
                "without spaces, such as 明<TAB>日月"
            )
        if character in found:
            raise UserError(f"decomposition {path}, line {number}: {character!r} appears twice; remove one")
        found[character] = parts
    return found
