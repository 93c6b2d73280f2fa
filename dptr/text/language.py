"""What the toolkit knows of a language."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dptr.config.render import CorpusConfig

Direction = Literal["ltr", "rtl", "mixed"]

ASCII = string.digits + string.ascii_letters + string.punctuation
"""Part of every charset, in PARSeq's order: numbers, addresses and Latin names stand on signs of every country."""

WORDS_SHARE = 0.75
"""Of a default corpus; the rest are patterns (numbers, prices, addresses, random strings)."""

MOST_WORDS = 200_000
MOST_WORDS_OF_MANY = 50_000


@dataclass(frozen=True)
class WordListName:
    """A list of words that a package brings.

    Attributes:
        kind: ``wordfreq`` (frequent words of some forty languages), or ``cldr`` (some two thousand names of countries,
            languages, currencies, months, and units, from babel).
        language: the list's own code.
    """

    kind: Literal["wordfreq", "cldr"]
    language: str


@dataclass(frozen=True)
class Language:
    """One language, or the union of several; read from a TOML file of ``dptr/text/languages``.

    Attributes:
        code: ISO 639-1 (or 639-3) code, or the name of a union; the key of ``LANGUAGES`` and the name of its charset.
        name: English name.
        charset: every character that a label may hold, each a single NFC code point.
        direction: order in which a line is read, "mixed" in a union of both; labels are stored in logical order.
        lists: the words that training uses where a recipe names none, each list alike.
        parts: codes of the languages of a union, else empty.
        dictionary: a Debian package with a longer list of words, or "".
    """

    code: str
    name: str
    charset: str
    direction: Direction
    lists: tuple[WordListName, ...]
    parts: tuple[str, ...] = ()
    dictionary: str = ""

    def corpus(self) -> CorpusConfig:
        """Three quarters words, the most frequent ones of each list alike; one quarter patterns.

        wordfreq needs its optional tokenizers (MeCab, jieba) to look a sentence up; its lists are read without them.
        """
        from dptr.config.render import CorpusConfig, SourceConfig  # reading needs no recipes

        weight = WORDS_SHARE / len(self.lists)
        top = MOST_WORDS if len(self.lists) == 1 else MOST_WORDS_OF_MANY
        words = [SourceConfig(kind=each.kind, language=each.language, top=top, weight=weight) for each in self.lists]
        return CorpusConfig(sources=(*words, SourceConfig(kind="pattern", weight=1 - WORDS_SHARE)))
