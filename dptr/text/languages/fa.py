"""Persian.

A label is the letters in logical order. The zero width non-joiner (U+200C) is part of the spelling, as in می‌خواهم, and
counts as a character. Arabic ي ى and ك become ی and ک, which Persian writes in their place (``Charset.fold``): most of
their forms look the same, and a twentieth of wordfreq's entries mixes them up.
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

_LETTERS = "آاءأؤئبپتثجچحخدذرزژسشصضطظعغفقکگلمنوهةی"
_MARKS = "\u064b\u064c\u064d\u0651\u0654"

LANGUAGE = Language(
    code="fa",
    name="Persian",
    charset=ASCII + _LETTERS + _MARKS + "\u200c" + "۰۱۲۳۴۵۶۷۸۹" + "،؛؟٪٫٬«»‹›–—…",
    direction="rtl",
    corpus=corpus_of("fa"),
)
