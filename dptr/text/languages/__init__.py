"""The languages, one TOML file each.

A file holds, beside ``name``:

- ``letters`` (both cases, where there are two), ``marks`` (combining marks), ``joiners``, ``digits`` (other than
  ASCII's), and ``signs``: the characters of its charset, in this order, behind ASCII's. ``rows`` names rows of an East
  Asian national standard instead, as (codec, first, last).
- ``direction``: ``rtl`` for scripts that run from right to left; ``ltr`` where it is left out.
- ``words``: ``wordfreq`` or ``cldr``; and ``list``, that list's code where it is not the language's.
- ``dictionary``: a Debian package with a longer list of words.
- ``union``: instead of all these, the languages whose characters and words it joins.

Letters are the main exemplar characters of Unicode CLDR in both cases, where a file names no other source; beside them
stand the language's quotation marks (CLDR's delimiters) and the signs that its prices and sentences need. What is left
out of CLDR's sets, or added to them, a comment in the file says.
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
    """Languages by code, in alphabetical order; a file is read when its language is first asked for."""

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
    """The language of a TOML file; its code is the file's name. Parts of a union are looked for beside it.

    Raises:
        ValueError: a key that no language has, or a value that it cannot have.
        KeyError: ``name`` is missing.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    name, direction = table.pop("name"), table.pop("direction", "ltr")
    if direction not in ("ltr", "rtl", "mixed"):
        raise ValueError(f"{path}: direction = '{direction}'; write ltr, rtl, or mixed")
    parts = tuple(table.pop("union", ()))
    dictionary = table.pop("dictionary", "")
    if parts:
        joined = [read_language(path.with_name(f"{part}.toml")) for part in parts]
        charset = "".join(dict.fromkeys("".join(part.charset for part in joined)))
        lists = tuple(dict.fromkeys(each for part in joined for each in part.lists))
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

    Languages that need ASCII's letters alone, which every charset holds, count only where there are no others.
    """
    known = {*characters}
    spelled = {code: {each for each in LANGUAGES[code].charset if category(each)[0] in "LM"} for code in LANGUAGES}
    written = tuple(code for code, letters in spelled.items() if letters <= known)
    return tuple(code for code in written if not "".join(spelled[code]).isascii()) or written
