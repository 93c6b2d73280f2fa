"""Russian."""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

_LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"

LANGUAGE = Language(
    code="ru",
    name="Russian",
    charset=ASCII + _LETTERS + _LETTERS.upper() + "«»„“”–—…№₽€§°",
    direction="ltr",
    corpus=corpus_of("ru"),
)
