"""Add readings as columns to tables: Ray datasets and pandas data frames, and through these Spark and Dask."""

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
"""The added columns: the text and its confidence, 0 to 1, or else the error."""


class FrameReader:
    """A function that adds ``COLUMNS`` to a pandas data frame with a column of pictures.

    It can be pickled, and opens the model in the process that calls it:
    ``dask_frame.map_partitions(FrameReader(...), meta=...)``,
    ``spark_frame.mapInPandas(FrameReader(...).stream, schema)``. A picture that cannot be read has an ``error``, and
    neither text nor confidence.

    Args:
        reader: reads the pictures.
        column: the column with the bytes or paths of pictures.

    Raises:
        UserError: in a call, if the column is missing, or if one of ``COLUMNS`` exists already.
    """

    def __init__(self, reader: Reader, column: str = "image") -> None:
        self.reader = reader
        self.column = column

    def __call__(self, frame: DataFrame) -> DataFrame:
        names = [str(name) for name in frame.columns]
        _check_columns(names, self.column)
        return frame.assign(**_read(self.reader, [*frame[self.column]]))

    def stream(self, frames: Iterable[DataFrame]) -> Iterator[DataFrame]:
        """Process an iterator of data frames lazily, as Spark's ``mapInPandas`` requires."""
        return map(self, frames)


class _TableReader:
    """The same function for Arrow tables, the blocks of Ray Data."""

    def __init__(self, reader: Reader, column: str) -> None:
        self.reader = reader
        self.column = column

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        types = {"text": pa.string(), "confidence": pa.float64(), "error": pa.string()}
        readings = _read(self.reader, table.column(self.column).to_pylist())
        for name, kind in types.items():
            table = table.append_column(name, pa.array(readings[name], kind))
        return table


def read_dataset(
    dataset: Dataset, column: str = "image", reader: Reader | None = None, pool: Pool | None = None, batch: int = 256
) -> Dataset:
    """Read the pictures in a column of a Ray dataset, lazily, on the cluster that this process is connected to.

    Args:
        dataset: the dataset.
        column: the column with the bytes of pictures, or with paths that the workers can open.
        reader: reads the pictures; each worker opens its model. None = ``Reader()``.
        pool: the number of workers and the resources of each; its address is ignored. None = ``Pool()``.
        batch: rows in one call of a worker.

    Returns:
        The dataset with the additional ``COLUMNS``.

    Raises:
        UserError: the column is missing, or one of ``COLUMNS`` exists already.
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
    """Read pictures, given as bytes, paths, or missing values, into the columns ``COLUMNS``."""
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
    if not isinstance(picture, str):  # None, or NaN in pandas
        return Item(f"row {row}", 0, None, UserError(f"row {row} holds no picture"))
    try:
        return Item(picture, 0, None, read_encoded(picture))
    except UserError as error:
        return Item(picture, 0, None, error)
