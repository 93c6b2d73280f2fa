"""The best path of a CTC network whose probabilities were changed after it: words from positions, in numpy.

``dptr.models.decoders.ctc.collapse`` does the same with logits, inside the network.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def collapse(paths: Float[np.ndarray, "n t classes"], length: int) -> Float[np.ndarray, "n k classes"]:
    """Best path decoding with probabilities by character: see ``dptr.models.decoders.ctc.collapse``.

    Args:
        paths: 0 to 1, for each position the probabilities of the blank (class 0) and of the characters.
        length: k, rows to return; of a path with more characters the first k.
    """
    score, best = paths.max(-1), paths.argmax(-1)
    shown = best != 0
    starts = shown & (best != np.pad(best, ((0, 0), (1, 0)))[:, :-1])
    run = starts.cumsum(1) - 1
    members = shown[:, None] & (run[:, None] == np.arange(length)[:, None])
    peak = np.where(members, score[:, None], -1.0).argmax(-1)
    characters = np.take_along_axis(paths, peak[..., None], 1)
    doubt = np.where(shown, 2.0, score).argmin(-1)  # above what a certain blank scores
    certain = np.zeros_like(paths[:, 0])
    certain[:, 0] = 1.0
    end = np.where(shown.all(1, keepdims=True), certain, paths[np.arange(len(paths)), doubt])
    return np.where(members.any(-1, keepdims=True), characters, end[:, None])
