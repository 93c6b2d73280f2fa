"""Recognition decoders with one interface; a new one takes a file and a line in ``DECODERS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dptr.models.decoders.abinet import build_abinet
from dptr.models.decoders.base import Decoder
from dptr.models.decoders.ctc import build_ctc
from dptr.models.decoders.mdiff import build_mdiff
from dptr.models.decoders.nrtr import build_nrtr
from dptr.models.decoders.parseq import build_parseq

__all__ = ["DECODERS", "Decoder"]

DECODERS: dict[str, Callable[[Any, int, int], Decoder]] = {  # (the kind's config, number of characters, max_length)
    "parseq": build_parseq,
    "nrtr": build_nrtr,
    "ctc": build_ctc,
    "abinet": build_abinet,
    "mdiff": build_mdiff,
}
