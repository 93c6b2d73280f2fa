"""The choice of validation crops by the hash of each picture, so that a growing data set keeps its validation crops.

A random permutation would change with the number of crops, and then validate on crops that were trained on before. With
a hash, a picture is on the same side in every set, order, and run.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Bool, UInt32

RULE = "first 8 hex digits of the sha256 of the picture's file / 2**32 < share"


def hash_picture(data: bytes) -> int:
    """The first 32 bits of the sha256 of an encoded picture: of the file, or of the value in the LMDB."""
    return int.from_bytes(hashlib.sha256(data).digest()[:4], "big")


def is_held_out(hashes: UInt32[np.ndarray, " n"], share: float) -> Bool[np.ndarray, " n"]:
    """Which pictures are held out, about a ``share`` (0 to 1) of all. A larger share holds out those of a smaller too.

    Args:
        hashes: from ``hash_picture``.
    """
    return hashes < share * 2.0**32
