"""Ukrainian. The apostrophe is ' or ’; CLDR's ʼ (U+02BC) becomes ’, which looks the same (``Charset.fold``)."""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

_LETTERS = "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя"

LANGUAGE = Language(
    code="uk",
    name="Ukrainian",
    charset=ASCII + _LETTERS + _LETTERS.upper() + "«»„“”’–—…№₴€§°",
    direction="ltr",
    corpus=corpus_of("uk"),
)
