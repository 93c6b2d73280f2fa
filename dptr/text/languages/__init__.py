"""The languages that DPTR knows, one TOML file each.

A file has a ``name`` and these keys:

- ``letters`` (both cases, where there are two), ``marks`` (combining marks), ``joiners``, ``digits`` (other than
  ASCII's), and ``signs``: the characters of the charset. The charset has them in this order, after ASCII.
- ``rows``: rows of an East Asian national standard, as (codec, first, last). Their characters come right after ASCII.
- ``direction``: ``rtl`` (right to left), ``ltr`` (left to right, the default), or ``mixed`` (a union of both).
- ``words``: the source of words, ``wordfreq`` (the default) or ``cldr``.
- ``list``: the code of the word list, if it differs from the language's code.
- ``dictionary``: a Debian package with a longer list of words.
- ``union``: instead of characters and words, the languages whose characters and word lists are combined.

Letters are the main exemplar characters of Unicode CLDR, in both cases, unless a file names another source. The signs
include the language's quotation marks (CLDR's delimiters) and those that its prices and sentences need. A comment in a
file says how it differs from CLDR's sets.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import category

from dptr.text.language import ASCII, Language, WordListName
from dptr.text.languages.codec import rows

FOLDER = Path(__file__).parent
_CHARACTERS = ("letters", "marks", "joiners", "digits", "signs")


class _Languages(Mapping[str, Language]):
    """Languages by code, in alphabetical order. A file is read when its language is first accessed."""

    def __init__(self, folder: Path):
        self._codes = {path.stem: path for path in sorted(folder.glob("*.toml"))}

    def __getitem__(self, code: str) -> Language:
        return read_language(self._codes[code])

    def __iter__(self) -> Iterator[str]:
        return iter(self._codes)

    def __len__(self) -> int:
        return len(self._codes)


@cache
def read_language(path: Path) -> Language:
    """Read a language from a TOML file.

    The stem of the file's name is the language's code. The files of a union's languages are in the same folder.

    Raises:
        ValueError: an unknown key, or a value that its key cannot have.
        KeyError: ``name`` is missing.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    name, direction = table.pop("name"), table.pop("direction", "ltr")
    if direction not in ("ltr", "rtl", "mixed"):
        raise ValueError(f"{path}: direction = '{direction}'; write ltr, rtl, or mixed")
    parts = tuple(table.pop("union", ()))
    dictionary = table.pop("dictionary", "")
    if parts:
        languages = [read_language(path.with_name(f"{part}.toml")) for part in parts]
        charset = "".join(dict.fromkeys("".join(part.charset for part in languages)))
        lists = tuple(dict.fromkeys(each for part in languages for each in part.lists))
    else:
        charset, lists = _characters(table), (_word_list(table, path),)
    if table:
        raise ValueError(f"{path}: no language has {', '.join(sorted(table))}; see dptr/text/languages/__init__.py")
    return Language(path.stem, name, charset, direction, lists, parts, dictionary)


def _characters(table: dict[str, Any]) -> str:
    standard = "".join(rows(*row) for row in table.pop("rows", ()))
    return ASCII + standard + "".join(table.pop(key, "") for key in _CHARACTERS)


def _word_list(table: dict[str, Any], path: Path) -> WordListName:
    kind = table.pop("words", "wordfreq")
    if kind not in ("wordfreq", "cldr"):
        raise ValueError(f"{path}: words = '{kind}'; write wordfreq or cldr")
    return WordListName(kind, table.pop("list", path.stem))


LANGUAGES: Mapping[str, Language] = _Languages(FOLDER)


def written_languages(characters: Iterable[str]) -> tuple[str, ...]:
    """The codes of the languages all of whose letters and marks are among ``characters``.

    The charset of every language has the ASCII letters. Languages that need no others are returned only if no other
    language matches.
    """
    available = {*characters}
    letters_of = {code: {each for each in LANGUAGES[code].charset if category(each)[0] in "LM"} for code in LANGUAGES}
    written = tuple(code for code, letters in letters_of.items() if letters <= available)
    return tuple(code for code in written if not "".join(letters_of[code]).isascii()) or written
