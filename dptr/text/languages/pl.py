"""Polish."""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="pl",
    name="Polish",
    charset=ASCII + "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ" + "„”«»’–—…€§°",
    direction="ltr",
    corpus=corpus_of("pl"),
)
