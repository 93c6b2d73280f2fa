"""The words of Unicode CLDR in one language, from babel: about two thousand, for nearly every language.

They are names of countries, cities of time zones, languages, scripts, currencies, months, days, and units. They are a
small vocabulary with all letters, for languages without a list of frequent words.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dptr.text.unicode import JOINERS, script
from dptr.utils.errors import UserError
from dptr.utils.extras import describe_install

_BETWEEN = re.compile(r"[\s\u200b/()\[\],;:·–—\-{}0-9]+")
_ENDS = ".'’ʼ\"“”«»!?…၊။።፣،۔"
_TABLES = ("territories", "languages", "scripts", "variants", "currencies")
_NESTED = ("months", "days", "day_periods", "unit_display_names")


def cldr_words(language: str) -> list[str]:
    """Distinct words of two or more characters in the language's main script, in alphabetical order.

    Raises:
        UserError: babel is not installed, or CLDR has no such language.
    """
    try:
        babel = importlib.import_module("babel")
    except ImportError as error:
        raise UserError(
            f"corpus source cldr: babel is not installed; use kind = 'file', or {describe_install('train')}"
        ) from error
    try:
        locale = babel.Locale.parse(language)
    except (ValueError, babel.UnknownLocaleError) as error:
        raise UserError(
            f"corpus source cldr: CLDR has no language '{language}'; write a code such as 'ka' or 'sr_Cyrl'"
        ) from error
    words = {word for text in _texts(locale) for word in split_words(text)}
    scripts = Counter(own for word in words if (own := script_of(word)))
    if not scripts:
        raise UserError(f"corpus source cldr: CLDR has no words of '{language}'; use kind = 'file'")
    ((main, _),) = scripts.most_common(1)
    return sorted(word for word in words if script_of(word) == main)


def split_words(text: str) -> list[str]:
    """Split ``text`` at white space, signs, and digits; only parts of two or more characters are returned."""
    parts = (part.strip(_ENDS) for part in _BETWEEN.split(text))
    return [part for part in parts if len(part) > 1]


def script_of(word: str) -> str:
    """The script of the letters and marks of ``word``; "" if it has none or several."""
    scripts = {own for character in word if character not in JOINERS and (own := script(character))}
    return scripts.pop() if len(scripts) == 1 else ""


def _texts(locale: Any) -> Iterator[str]:
    for name in _TABLES:
        yield from map(str, getattr(locale, name).values())
    for name in _NESTED:
        yield from _leaves(getattr(locale, name))
    for zone in locale.time_zones.values():
        yield zone.get("city", "")


def _leaves(table: Any) -> Iterator[str]:
    if isinstance(table, str):
        yield table
        return
    for value in table.values():
        yield from _leaves(value)
