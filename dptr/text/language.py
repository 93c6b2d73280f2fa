"""What the toolkit knows of a language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dptr.config import CorpusConfig


@dataclass(frozen=True)
class Language:
    """One language; an instance lives in its own file under ``dptr/text/languages``.

    Attributes:
        code: ISO 639-1 code, the key of ``LANGUAGES`` and the name of its charset.
        name: English name.
        charset: every character a label may hold, each a single NFC code point.
        direction: order in which a line is read; labels are stored in logical order either way.
        corpus: the mixture of words that training uses where a recipe names none.
    """

    code: str
    name: str
    charset: str
    direction: Literal["ltr", "rtl"]
    corpus: CorpusConfig
