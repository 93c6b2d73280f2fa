"""Sets of labels, with pictures or without, in shards that are streamed: Parquet files, or tar archives of WebDataset.

``shard_set`` opens a set, ``survey`` says once which of its rows are used, ``order`` says which row is sample n of an
epoch. Nothing here grows with the set but 32 bytes a chunk (some thousand rows), and a byte or five a row where no
folder is given for what ``survey`` found.
"""
