"""English: ASCII, the field's set of 94 characters."""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="en",
    name="English",
    charset=ASCII,
    direction="ltr",
    corpus=corpus_of("en"),
)
