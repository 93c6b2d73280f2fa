"""German.

Added to CLDR's main set: é, as in Café, of its auxiliary set; and the capital ẞ, which official spelling allows since
2017 (Rat für deutsche Rechtschreibung, section 25 E3). Words in capitals are drawn with SS, its first choice.
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="de",
    name="German",
    charset=ASCII + "äöüßéÄÖÜẞÉ" + "„“”‚‘’»«›‹–—…€§°",
    direction="ltr",
    corpus=corpus_of("de"),
)
