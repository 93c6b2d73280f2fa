"""Data sets in shards that are streamed: Parquet files or WebDataset tar archives of labels, with or without pictures.

``shard_set`` opens a set. ``survey`` examines all rows once and decides which ones are used. ``order`` maps sample n of
an epoch to a row.

Memory grows with the set only by 32 bytes for each chunk (about a thousand rows). Without a cache folder, the result of
``survey`` is in memory too: one byte for each row, or five with picture hashes.
"""
