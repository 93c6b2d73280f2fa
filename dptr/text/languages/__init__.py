"""The languages, one file each. A new one: write ``xx.py`` beside ``en.py`` and add a line below."""

from __future__ import annotations

from dptr.text.language import Language
from dptr.text.languages import en

LANGUAGES: dict[str, Language] = {
    "en": en.LANGUAGE,
}
