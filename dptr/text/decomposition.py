"""What characters are made of: jamo of a Hangul syllable, letter and accent, components of a Han character.

Thousands of characters share a few dozen parts. Training can use that (``dptr.training.shared_rows``): a rare character
learns from the common ones that share its parts.
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
    """The parts of each character; one without parts is a part of itself.

    Args:
        source: ``unicode``, the canonical decomposition (NFD, Unicode Standard Annex #15), or the path of a UTF-8 file
            with a character, a tab, and its parts, one code point each, in every line. Characters that the file lacks
            are decomposed by Unicode.

    Raises:
        UserError: a file that cannot be read, is not UTF-8, or has another line; a character twice.
    """
    listed = {} if source == UNICODE else _read(Path(source))
    return {character: listed.get(character) or normalize("NFD", character) for character in characters}


def part_weights(parts: Mapping[str, str]) -> tuple[Float32[np.ndarray, "n p"], list[str]]:
    """How much each of n characters has of each of p shared parts, and these parts.

    A part counts that two characters or more share. A character with k of them, repeated ones counted, has 1/sqrt(k) of
    each occurrence, so that a sum of independent parts has the variance of one. Without shared parts its row is zero.
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
