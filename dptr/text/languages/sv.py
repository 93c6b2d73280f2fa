"""Swedish."""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="sv",
    name="Swedish",
    charset=ASCII + "åäöàéÅÄÖÀÉ" + "”’»–—…€§°",
    direction="ltr",
    corpus=corpus_of("sv"),
)
