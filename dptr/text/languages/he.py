"""Hebrew, without vowel points (CLDR has them in its auxiliary set), as signs and print are.

Geresh and gershayim are ' and ", as people type them: ׳ and ״ look the same and become these (``Charset.fold``).
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="he",
    name="Hebrew",
    charset=ASCII + "אבגדהוזחטיךכלםמןנסעףפץצקרשת" + "־“”’–—…₪€",
    direction="rtl",
    corpus=corpus_of("he"),
)
