"""French."""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="fr",
    name="French",
    charset=ASCII + "àâæçéèêëîïôœùûüÿÀÂÆÇÉÈÊËÎÏÔŒÙÛÜŸ" + "«»‹›“”’–—…€§°",
    direction="ltr",
    corpus=corpus_of("fr"),
)
