"""Kinds of pictures other than a word on a sign, by the names of their probabilities in ``dptr.config.effects``."""

from dptr.synth.kinds.arc import ARC
from dptr.synth.kinds.display import DISPLAY
from dptr.synth.kinds.emblem import EMBLEM
from dptr.synth.kinds.empty import EMPTY
from dptr.synth.kinds.kind import Kind, Materials
from dptr.synth.kinds.marker import MARKER
from dptr.synth.kinds.plate import PLATE
from dptr.synth.kinds.receipt import RECEIPT
from dptr.synth.kinds.stamp import STAMP

# In the order of ``dptr.config.effects.KIND_NAMES``.
KINDS: dict[str, Kind] = {
    "empty": EMPTY,
    "arc": ARC,
    "emblem": EMBLEM,
    "receipt": RECEIPT,
    "display": DISPLAY,
    "marker": MARKER,
    "plate": PLATE,
    "stamp": STAMP,
}


def choose_kind(shares: dict[str, float], fraction: float) -> str:
    """Choose a kind of picture at random; "" = a word on a sign.

    Args:
        shares: probability of each kind; their sum is at most 1.
        fraction: a random number in [0, 1): the position in the cumulative shares.
    """
    for name, share in shares.items():
        if fraction < share:
            return name
        fraction -= share
    return ""


__all__ = ["KINDS", "Kind", "Materials", "choose_kind"]
