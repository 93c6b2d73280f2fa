"""Text and JSON that cannot command a terminal, add lines to a table, or turn the direction of what stands beside it.

Names of files, labels, and messages of libraries come from anywhere.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

# Controls (C0, DEL, C1), marks, embeddings and isolates of direction (UAX #9), separators of lines and paragraphs, and
# halves of characters.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNDECODED = re.compile("[\udc80-\udcff]")  # a byte of a file's name that is not UTF-8, as Python keeps it
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escape(text: str, keep: str = "") -> str:
    """What cannot be seen becomes ``\\t``, ``\\n``, ``\\x1b``, ``\\u202e``, and so on; nothing else changes.

    Bytes of a name that are not UTF-8 stay, for standard output gives them back as they came.

    Args:
        keep: characters to leave as they are.
    """

    def shown(found: re.Match[str]) -> str:
        character = found[0]
        if character in keep or _UNDECODED.match(character):
            return character
        code = ord(character)
        return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")

    return _UNSEEN.sub(shown, text)


def dump_json(value: Any, indent: int | None = None) -> str:
    """JSON that every program reads, in UTF-8.

    NaN and infinity, which JSON lacks, become null. What cannot be seen is escaped, so that nothing is lost.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return _UNSEEN.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
