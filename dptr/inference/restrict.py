"""Reading some characters of a model's charset alone: digits of a meter, capitals of a plate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dptr.text.charset import Charset, show
from dptr.utils.errors import UserError


def restriction_matrix(charset: Charset, allowed: Charset) -> Float[np.ndarray, "classes classes"]:
    """Where the probability of each class goes, as the rows of a matrix; class 0, the end of the word, stays.

    A character outside ``allowed`` gives its probability to its other case, where that is allowed, or to none.

    Args:
        charset: the model's.
        allowed: the characters to read.

    Raises:
        UserError: the model reads none of them.
    """
    kept = [character for character in charset.characters if character in allowed]
    if not kept:
        raise UserError(
            f"charset '{allowed.name}': the model reads none of its characters ({show(''.join(allowed.characters))}); "
            "pass another charset, or another model"
        )
    matrix = np.zeros((1 + len(charset), 1 + len(charset)), np.float32)
    matrix[0, 0] = 1
    position = {character: 1 + index for index, character in enumerate(charset.characters)}
    for character, row in position.items():
        cases = (character, character.swapcase())
        target = next((case for case in cases if case in allowed and case in position), None)
        if target is not None:
            matrix[row, position[target]] = 1
    return matrix


def restrict_characters(
    probabilities: Float[np.ndarray, "b t classes"], matrix: Float[np.ndarray, "classes classes"]
) -> Float[np.ndarray, "b t classes"]:
    """Probabilities as if the model had no other characters: moved by ``restriction_matrix``, summing to 1 again.

    A decoder that reads left to right has seen its own unrestricted letters, so this is an approximation for it.
    """
    moved = probabilities @ matrix
    return moved / np.maximum(moved.sum(-1, keepdims=True), np.finfo(np.float32).tiny)
