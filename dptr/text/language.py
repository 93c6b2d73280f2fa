"""What the toolkit knows of a language."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dptr.config.render import CorpusConfig

Direction = Literal["ltr", "rtl", "mixed"]

ASCII = string.digits + string.ascii_letters + string.punctuation
"""Part of every charset, in PARSeq's order: numbers, addresses and Latin names stand on signs of every country."""


@dataclass(frozen=True)
class Language:
    """One language; an instance lives in its own file under ``dptr/text/languages``.

    Letters are the main exemplar characters of Unicode CLDR 47 (``common/main/xx.xml``) in both cases, where a file
    names no other source; beside them stand the language's quotation marks (CLDR's delimiters), the signs that its
    prices and sentences need, and ``ASCII``. What is left out of CLDR's sets, or added to them, a file says.

    Attributes:
        code: ISO 639-1 code, or the name of a union; the key of ``LANGUAGES`` and the name of its charset.
        name: English name.
        charset: every character a label may hold, each a single NFC code point.
        direction: order in which a line is read, "mixed" in a union of both; labels are stored in logical order.
        corpus: makes the mixture of words that training uses where a recipe names none; reading needs no recipes.
    """

    code: str
    name: str
    charset: str
    direction: Direction
    corpus: Callable[[], CorpusConfig]


def corpus_of(*codes: str, top: int = 200_000) -> Callable[[], CorpusConfig]:
    """Three quarters words, the ``top`` most frequent of wordfreq's list of each language alike; one quarter patterns.

    wordfreq needs its optional tokenizers (MeCab, jieba) to look a sentence up; its lists are read without them.
    """
    return partial(_mixture, codes, top)


def _mixture(codes: tuple[str, ...], top: int) -> CorpusConfig:
    from dptr.config.render import CorpusConfig, SourceConfig

    words = [SourceConfig(kind="wordfreq", language=code, top=top, weight=0.75 / len(codes)) for code in codes]
    return CorpusConfig(sources=(*words, SourceConfig(kind="pattern", weight=0.25)))


def union_of(languages: tuple[Language, ...]) -> str:
    """The characters of several languages, each once, in the order in which they come."""
    return "".join(dict.fromkeys("".join(language.charset for language in languages)))
