"""Random orders of samples, one for each epoch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=4)
def seeded_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A random permutation of 0..``count - 1`` for this seed and epoch: int64 (count,)."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)
