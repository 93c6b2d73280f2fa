"""Which labeled crops validate: decided by each picture itself, so that a set that grows keeps its validation part.

A permutation over the number of crops would choose others as soon as one crop more or less is there, and so validate on
crops that were trained on before. By its bytes the same picture is on the same side in every set, order, and run.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Bool, UInt32

RULE = "first 8 hex digits of the sha256 of the picture's file / 2**32 < share"


def hash_picture(data: bytes) -> int:
    """The first 32 bits of the sha256 of a picture as it is encoded, the file or the value in the LMDB."""
    return int.from_bytes(hashlib.sha256(data).digest()[:4], "big")


def is_held_out(hashes: UInt32[np.ndarray, " n"], share: float) -> Bool[np.ndarray, " n"]:
    """Which pictures are held out, about a ``share`` (0 to 1) of all; those of a smaller share are among them.

    Args:
        hashes: what ``hash_picture`` gave.
    """
    return hashes < share * 2.0**32
