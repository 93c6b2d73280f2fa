"""Read crops and pages, or render words, on many machines with Ray Data (``dptr batch``).

>>> from dptr.batch import read_dataset
>>> read_dataset(ray.data.read_parquet("crops/"), "image").write_parquet("readings/")  # doctest: +SKIP
"""

from dptr.batch.frames import FrameReader, read_dataset

__all__ = ["FrameReader", "read_dataset"]
