"""Detection of equal pictures, and of near-duplicates: resized, recompressed, or recolored ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image

from dptr.utils.resize import shorten

CELLS = 16  # in each direction
FARTHEST = 110  # of 512 bits that may differ; those of flat areas are chance (docs/LOG.md)
THUMBNAIL = (64, 16)  # width and height in pixels
LIKEST = 0.95  # least correlation of the thumbnails of near-duplicates
_BLOCK = 4096  # crops compared at once


def fingerprint(image: Image.Image) -> bytes:
    """A hash of a picture's size and pixels (BLAKE2, 128 bits)."""
    return hashlib.blake2b(repr(image.size).encode() + image.convert("RGB").tobytes(), digest_size=16).digest()


def difference_hash(image: Image.Image) -> Bool[np.ndarray, " 512"]:
    """Whether each of 16 x 16 cells of the gray picture is brighter than its left, and than its upper neighbor.

    This is the difference hash (Krawetz 2013) with more than its 64 bits, since words differ little, and in both
    directions.
    """
    across = down = CELLS
    gray = shorten(image, down, across).convert("L")
    left = np.asarray(gray.resize((across + 1, down), Image.Resampling.BOX), np.int16)
    upper = np.asarray(gray.resize((across, down + 1), Image.Resampling.BOX), np.int16)
    return np.concatenate([(np.diff(left, axis=1) > 0).ravel(), (np.diff(upper, axis=0) > 0).ravel()])


def thumbnail(image: Image.Image) -> Float32[np.ndarray, " 1024"]:
    """A small gray picture with mean 0 and norm 1; all zeros for a uniform one."""
    width, height = THUMBNAIL
    gray = shorten(image, height, width).convert("L")
    small = np.asarray(gray.resize(THUMBNAIL, Image.Resampling.BOX), np.float32).ravel()
    small = small - small.mean()
    length = float(np.linalg.norm(small))
    return small / length if length > 0 else small


def near_duplicates(
    hashes: Bool[np.ndarray, "n 512"],
    thumbnails: Float32[np.ndarray, "n 1024"],
    other_hashes: Bool[np.ndarray, "m 512"],
    other_thumbnails: Float32[np.ndarray, "m 1024"],
) -> list[tuple[int, int, float]]:
    """Pairs (row of the first, row of the other, correlation) of near-duplicates, by falling correlation.

    All pairs are compared. In near-duplicates at most ``FARTHEST`` bits differ, and the correlation of the thumbnails
    is at least ``LIKEST``.
    """
    pairs: list[tuple[int, int, float]] = []
    other = np.where(other_hashes, np.float32(1), np.float32(-1))
    for start in range(0, len(hashes), _BLOCK):
        own = np.where(hashes[start : start + _BLOCK], np.float32(1), np.float32(-1))
        agreeing = own @ other.T  # bits - 2 * differing ones
        for row, column in np.argwhere(agreeing >= own.shape[1] - 2 * FARTHEST).tolist():
            likeness = float(thumbnails[start + row] @ other_thumbnails[column])
            if likeness >= LIKEST:
                pairs.append((start + row, column, likeness))
    return sorted(pairs, key=lambda pair: -pair[2])


def same_pictures(fingerprints: Sequence[bytes]) -> list[list[int]]:
    """Groups of two or more rows with the same fingerprint."""
    groups: dict[bytes, list[int]] = {}
    for row, value in enumerate(fingerprints):
        groups.setdefault(value, []).append(row)
    return [group for group in groups.values() if len(group) > 1]
