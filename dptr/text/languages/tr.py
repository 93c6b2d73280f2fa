"""Turkish.

Added to CLDR's main set: â î û of its auxiliary set, as in hâlâ. Case is Turkish: i İ and ı I (``dptr.text.casing``).
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="tr",
    name="Turkish",
    charset=ASCII + "çğıöşüâîûÇĞİÖŞÜÂÎÛ" + "“”‘’–—…€₺§°",
    direction="ltr",
    corpus=corpus_of("tr"),
)
