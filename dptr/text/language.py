"""The properties of a language: its charset, reading direction, and word lists."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dptr.config.render import CorpusConfig

Direction = Literal["ltr", "rtl", "mixed"]

ASCII = string.digits + string.ascii_letters + string.punctuation
"""The first characters of every language's charset, in PARSeq's order.

Signs in every country show numbers, addresses, and Latin names."""

WORDS_SHARE = 0.75
"""The share of words in a default corpus. The rest are patterns (numbers, prices, addresses, random strings)."""

MOST_WORDS = 200_000
"""The most words that a default corpus takes from the only list of a language."""

MOST_WORDS_OF_MANY = 50_000
"""The most words that it takes from each list of a union of several."""


@dataclass(frozen=True)
class WordListName:
    """A word list that a Python package provides.

    Attributes:
        kind: the source. ``wordfreq`` has frequent words of some forty languages. ``cldr`` has some two thousand names
            of countries, languages, currencies, months, and units, from babel.
        language: the code of the list in that package.
    """

    kind: Literal["wordfreq", "cldr"]
    language: str


@dataclass(frozen=True)
class Language:
    """A language, or a union of several, as defined in a TOML file of ``dptr/text/languages``.

    Attributes:
        code: ISO 639-1 (or 639-3) code, or the name of a union; the key of ``LANGUAGES`` and the name of its charset.
        name: English name.
        charset: every character that a label may hold, each a single NFC code point.
        direction: the direction in which a line is read; "mixed" for a union of both. Labels are in logical order.
        lists: the word lists that training uses if a recipe names none, all equally weighted.
        parts: codes of the languages of a union; empty for a single language.
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
        """The default corpus: three quarters words, equally from each list, and one quarter patterns.

        Each list contributes its most frequent words. Reading wordfreq's lists does not need its optional tokenizers
        (MeCab, jieba), which serve to look sentences up.
        """
        from dptr.config.render import CorpusConfig, SourceConfig  # imported here: reading needs no recipes

        weight = WORDS_SHARE / len(self.lists)
        top = MOST_WORDS if len(self.lists) == 1 else MOST_WORDS_OF_MANY
        words = [SourceConfig(kind=each.kind, language=each.language, top=top, weight=weight) for each in self.lists]
        return CorpusConfig(sources=(*words, SourceConfig(kind="pattern", weight=1 - WORDS_SHARE)))
