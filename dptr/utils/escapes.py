"""Escapes of invisible characters in text and JSON that DPTR prints.

Names of files, labels, and messages of libraries come from anywhere. Escaped, they cannot control a terminal, add lines
to a table, or reverse the direction of the text beside them.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

# Control characters (C0, DEL, C1), directional marks, embeddings and isolates (UAX #9), line and paragraph separators,
# and surrogates.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNDECODED = re.compile("[\udc80-\udcff]")  # how Python represents a byte of a file name that is not UTF-8
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escape(text: str, keep: str = "") -> str:
    """Replace invisible characters by ``\\t``, ``\\n``, ``\\x1b``, ``\\u202e``, and so on.

    Bytes of a file name that are not UTF-8 stay, because standard output writes them as they were.

    Args:
        keep: characters that stay as they are.
    """

    def shown(found: re.Match[str]) -> str:
        character = found[0]
        if character in keep or _UNDECODED.match(character):
            return character
        code = ord(character)
        return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")

    return _UNSEEN.sub(shown, text)


def dump_json(value: Any, indent: int | None = None) -> str:
    """Write strictly valid JSON, without ASCII escapes of visible characters.

    NaN and infinity, which JSON lacks, become null. Invisible characters become ``\\uXXXX``, which JSON decodes again.
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
