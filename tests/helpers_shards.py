"""Labeled pictures, and shards of them, for the tests of streaming."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def png(number: int, width: int = 0) -> bytes:
    """A picture of its own for each number."""
    file = io.BytesIO()
    pixels = np.full((8, width or 10 + number % 40, 3), number % 256, np.uint8)
    pixels[0, 0] = number // 256, number % 256, 7
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_parquet(
    path: Path, labels: Sequence[str | None], pictures: Sequence[bytes | None] = (), rows: int = 17
) -> None:
    """One file; without pictures a list of words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, object] = {"label": pa.array([*labels], pa.string())}
    if pictures:
        columns["image"] = pa.array([*pictures], pa.binary())
    pq.write_table(pa.table(columns), path, row_group_size=rows)


def write_tar(path: Path, labels: Sequence[str | None], pictures: Sequence[bytes | None] = ()) -> None:
    """The same as an archive; None is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = pictures or [None] * len(labels)
    with tarfile.open(path, "w") as archive:
        for number, (label, picture) in enumerate(zip(labels, shown, strict=True)):
            text = None if label is None else label.encode()
            for suffix, content in (("png", picture), ("txt", text)):
                if content is not None:
                    member = tarfile.TarInfo(f"{number:05}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


WRITERS = {"parquet": write_parquet, "tar": write_tar}


def write_shards(
    folder: Path, kind: str, labels: Sequence[str | None], pictures: Sequence[bytes | None] = (), files: int = 4
) -> Path:
    """Several files, each with a part."""
    for number in range(files):
        first, last = (each * len(labels) // files for each in (number, number + 1))
        WRITERS[kind](folder / f"part-{number:03}.{kind}", labels[first:last], pictures[first:last])
    return folder


def write_labels_tsv(folder: Path, labels: Sequence[str], pictures: Sequence[bytes]) -> Path:
    """The same samples as a folder."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        (folder / f"{number:05}.png").write_bytes(picture)
    lines = (f"{number:05}.png\t{label}\n" for number, label in enumerate(labels))
    (folder / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    return folder
