"""Dutch.

Added to CLDR's main set: à ç è ê of its auxiliary set, as in à, façade, carrière, enquête. Left out: the stressed íj́,
whose second letter is no single code point; ij is two letters, as CLDR spells it.
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="nl",
    name="Dutch",
    charset=ASCII + "áàäçéèêëíïóöúüÁÀÄÇÉÈÊËÍÏÓÖÚÜ" + "“”„‘’–—…€§°",
    direction="ltr",
    corpus=corpus_of("nl"),
)
