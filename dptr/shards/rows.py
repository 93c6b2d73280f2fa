"""What shards of either kind are read as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

Chunks: TypeAlias = Int[np.ndarray, "*n 4"]
"""What is read in one go: the number of its file, where it begins there and where it ends (row groups of Parquet, bytes
of archives), and how many rows it holds."""


@dataclass(frozen=True)
class Scan:
    """What is in a file.

    Attributes:
        chunks: with 0 as the number of the file.
        columns: where labels, pictures, and stops stand in it; another file of the set has the same.
        pictures: whether it holds any.
    """

    chunks: Chunks
    columns: tuple[str, ...]
    pictures: bool


@dataclass(frozen=True)
class Rows:
    """The rows of a chunk, each as long.

    Attributes:
        labels: None where there is none.
        pictures: as they are encoded; None where there is none, or they were not asked for.
        stops: where each letter of a rendered word begins and ends, one after the other; None where nobody knows.
        names: of members of an archive; empty for Parquet.
    """

    labels: Sequence[str | None]
    pictures: Sequence[bytes | None]
    stops: Sequence[Sequence[float] | None]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)
