"""Work on many machines: crops and pages read, words rendered, by the pools of Ray Data (``dptr batch``).

>>> from dptr.batch import read_dataset
>>> read_dataset(ray.data.read_parquet("crops/"), "image").write_parquet("readings/")  # doctest: +SKIP
"""

from dptr.batch.frames import FrameReader, read_dataset

__all__ = ["FrameReader", "read_dataset"]
