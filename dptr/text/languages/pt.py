"""Portuguese. Added to CLDR's main set: the ordinal signs ª and º of its auxiliary set."""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="pt",
    name="Portuguese",
    charset=ASCII + "áàâãçéêíóòôõúÁÀÂÃÇÉÊÍÓÒÔÕÚªº" + "«»“”‘’–—…€§°",
    direction="ltr",
    corpus=corpus_of("pt"),
)
