"""Best path decoding of CTC in numpy, for probabilities that were changed after the network.

``dptr.models.decoders.ctc.collapse`` does the same with logits, inside the network.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def collapse(paths: Float[np.ndarray, "n t classes"], length: int) -> Float[np.ndarray, "n k classes"]:
    """Best path decoding, as one row of probabilities per character: see ``dptr.models.decoders.ctc.collapse``.

    Args:
        paths: 0 to 1, for each position, the probabilities of the blank (class 0) and of the characters.
        length: k, the number of rows; further characters of the path are dropped.
    """
    score, best = paths.max(-1), paths.argmax(-1)
    is_character = best != 0
    starts = is_character & (best != np.pad(best, ((0, 0), (1, 0)))[:, :-1])
    run = starts.cumsum(1) - 1
    members = is_character[:, None] & (run[:, None] == np.arange(length)[:, None])
    peak = np.where(members, score[:, None], -1.0).argmax(-1)
    characters = np.take_along_axis(paths, peak[..., None], 1)
    least_certain = np.where(is_character, 2.0, score).argmin(-1)  # 2 is above every probability of a blank
    certain = np.zeros_like(paths[:, 0])
    certain[:, 0] = 1.0
    end = np.where(is_character.all(1, keepdims=True), certain, paths[np.arange(len(paths)), least_certain])
    return np.where(members.any(-1, keepdims=True), characters, end[:, None])
