"""The types that both kinds of shards are read into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

Chunks: TypeAlias = Int[np.ndarray, "*n 4"]
"""Units that are read at once: file number, begin and end in the file, and number of rows. Begin and end are numbers of
row groups in Parquet files, and byte offsets in archives."""


@dataclass(frozen=True)
class Scan:
    """The contents of a file.

    Attributes:
        chunks: the chunks of the file, with 0 as the file number.
        columns: names of the columns of labels, pictures, and stops, "" where there is none. All files of a set have
            the same columns.
        pictures: whether the file holds pictures.
    """

    chunks: Chunks
    columns: tuple[str, ...]
    pictures: bool


@dataclass(frozen=True)
class Rows:
    """The rows of a chunk, a sequence for each column. All are equally long, but ``names`` may be empty.

    Attributes:
        labels: None for a row without a label.
        pictures: encoded pictures; None for a row without one, or if pictures were not requested.
        stops: begin and end of each letter of a rendered word, alternating, as fractions of the width; None where they
            are unknown.
        names: names of the samples in an archive; empty for Parquet.
    """

    labels: Sequence[str | None]
    pictures: Sequence[bytes | None]
    stops: Sequence[Sequence[float] | None]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)
