"""Characters of the East Asian national standards, from Python's codecs."""

from __future__ import annotations


def rows(encoding: str, first: int, last: int) -> str:
    """The characters of rows ``first`` to ``last`` (1..94) of a standard, in its order, without unassigned cells.

    Args:
        encoding: an EUC codec, in which the bytes 160 + r, 160 + c encode the character in row r and cell c.
    """
    cells = (bytes((160 + row, 160 + cell)) for row in range(first, last + 1) for cell in range(1, 95))
    return "".join(cell.decode(encoding, "ignore") for cell in cells)
