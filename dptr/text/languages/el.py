"""Greek, in the monotonic spelling that has been official since 1982.

Words in capitals are drawn without tonos, as Greek writes them (``dptr.text.casing``); the capitals that carry one
begin words and names. The upper dot is U+00B7, as NFC has it, and the question mark is ASCII's semicolon.
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

_LETTERS = "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"

LANGUAGE = Language(
    code="el",
    name="Greek",
    charset=ASCII + _LETTERS + "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΆΈΉΊΌΎΏΪΫ" + "«»“”‘’–—…·€§°",
    direction="ltr",
    corpus=corpus_of("el"),
)
