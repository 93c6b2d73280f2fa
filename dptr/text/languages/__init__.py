"""The languages, one file each. A new one: write ``xx.py`` beside ``en.py`` and add a line below."""

from __future__ import annotations

from dptr.text.language import Language
from dptr.text.languages import (
    ar, bn, cs, de, el, en, es, fa, fr, he, hi, it, ja, ko, latin, mlt, nl, pl, pt, ru, sv, ta, tr, uk, vi, zh,
)  # fmt: skip

LANGUAGES: dict[str, Language] = {
    "en": en.LANGUAGE,
    "de": de.LANGUAGE,
    "fr": fr.LANGUAGE,
    "es": es.LANGUAGE,
    "it": it.LANGUAGE,
    "pt": pt.LANGUAGE,
    "nl": nl.LANGUAGE,
    "pl": pl.LANGUAGE,
    "cs": cs.LANGUAGE,
    "sv": sv.LANGUAGE,
    "tr": tr.LANGUAGE,
    "vi": vi.LANGUAGE,
    "ru": ru.LANGUAGE,
    "uk": uk.LANGUAGE,
    "el": el.LANGUAGE,
    "ar": ar.LANGUAGE,
    "fa": fa.LANGUAGE,
    "he": he.LANGUAGE,
    "hi": hi.LANGUAGE,
    "bn": bn.LANGUAGE,
    "ta": ta.LANGUAGE,
    "zh": zh.LANGUAGE,
    "ja": ja.LANGUAGE,
    "ko": ko.LANGUAGE,
    "latin": latin.LANGUAGE,
    "mlt": mlt.LANGUAGE,
}
