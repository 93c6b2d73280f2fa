"""Recognition decoders behind one contract; a new one is a file and a line in ``DECODERS``."""

from __future__ import annotations

from collections.abc import Callable

from dptr.config import DecoderConfig
from dptr.models.decoders.contract import Decoder
from dptr.models.decoders.parseq import build_parseq

__all__ = ["DECODERS", "Decoder"]

DECODERS: dict[str, Callable[[DecoderConfig, int, int], Decoder]] = {  # (config, number of characters, max_length)
    "parseq": build_parseq,
}
