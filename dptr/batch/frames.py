"""Readings as columns of tables: of Ray datasets, of pandas, and so of Spark and Dask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dptr.batch.items import Item
from dptr.batch.work import read_items
from dptr.inference.reader import Reader
from dptr.utils.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame
    from ray.data import Dataset

    from dptr.batch.engine import Pool

COLUMNS = "text", "confidence", "error"
"""What is added: the text and its confidence, 0 to 1; or why there is none."""


class FrameReader:
    """A function from a pandas table with a column of pictures to the same table with the columns ``COLUMNS``.

    It can be pickled, and opens the model where it is used: ``dask_frame.map_partitions(FrameReader(...), meta=...)``,
    ``spark_frame.mapInPandas(FrameReader(...).stream, schema)``. A picture that cannot be read has an ``error``, and
    neither text nor confidence.

    Args:
        reader: reads the pictures.
        column: holds the bytes of pictures, or paths.

    Raises:
        UserError: when called, the column is missing, or one of ``COLUMNS`` is there already.
    """

    def __init__(self, reader: Reader, column: str = "image") -> None:
        self.reader = reader
        self.column = column

    def __call__(self, frame: DataFrame) -> DataFrame:
        names = [str(name) for name in frame.columns]
        _check_columns(names, self.column)
        return frame.assign(**_read(self.reader, [*frame[self.column]]))

    def stream(self, frames: Iterable[DataFrame]) -> Iterator[DataFrame]:
        """Tables as they come, as Spark's ``mapInPandas`` wants it."""
        return map(self, frames)


class _TableReader:
    """The same for Ray Data, whose blocks are Arrow's tables."""

    def __init__(self, reader: Reader, column: str) -> None:
        self.reader = reader
        self.column = column

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        types = {"text": pa.string(), "confidence": pa.float64(), "error": pa.string()}
        read = _read(self.reader, table.column(self.column).to_pylist())
        for name, kind in types.items():
            table = table.append_column(name, pa.array(read[name], kind))
        return table


def read_dataset(
    dataset: Dataset, column: str = "image", reader: Reader | None = None, pool: Pool | None = None, batch: int = 256
) -> Dataset:
    """Read the pictures in a column of a Ray dataset, lazily, on the cluster that this process is connected to.

    Args:
        column: holds the bytes of pictures, or paths that the workers see.
        reader: None = ``Reader()``. Its model is opened by each worker.
        pool: how many workers, and what each gets; its address is not used. None = ``Pool()``.
        batch: rows that a worker gets at once.

    Returns:
        The dataset with the columns ``COLUMNS``.

    Raises:
        UserError: the column is missing, or one of ``COLUMNS`` is there already.
    """
    from dptr.batch.engine import Pool, count_workers, resources

    pool = pool or Pool()
    if names := dataset.columns(fetch_if_missing=False):
        _check_columns(names, column)
    return dataset.map_batches(
        _TableReader, fn_constructor_args=(reader or Reader(), column), batch_format="pyarrow", batch_size=batch,
        **resources(pool, count_workers(pool)),
    )  # fmt: skip


def _check_columns(names: list[str], column: str) -> None:
    if column not in names:
        raise UserError(f"no column '{column}', but {', '.join(names[:8])}; pass the one that holds pictures")
    if taken := [name for name in COLUMNS if name in names]:
        raise UserError(f"column '{taken[0]}' is there already; rename it")


def _read(reader: Reader, pictures: list[Any]) -> dict[str, list[Any]]:
    """The columns ``COLUMNS`` of pictures: bytes, paths, or nothing."""
    items = [_item(row, picture) for row, picture in enumerate(pictures)]
    outcomes = [outcome for _, outcome in read_items(reader, items)]
    failed = [isinstance(outcome, UserError) for outcome in outcomes]
    return {
        "text": [None if bad else outcome.text for outcome, bad in zip(outcomes, failed, strict=True)],
        "confidence": [None if bad else outcome.confidence for outcome, bad in zip(outcomes, failed, strict=True)],
        "error": [str(outcome) if bad else None for outcome, bad in zip(outcomes, failed, strict=True)],
    }


def _item(row: int, picture: Any) -> Item:
    from dptr.utils.images import read_encoded

    if isinstance(picture, bytes | bytearray | memoryview):
        return Item(f"row {row}", 0, None, bytes(picture))
    if not isinstance(picture, str):  # None, or NaN, as pandas writes it
        return Item(f"row {row}", 0, None, UserError(f"row {row} holds no picture"))
    try:
        return Item(picture, 0, None, read_encoded(picture))
    except UserError as error:
        return Item(picture, 0, None, error)
