"""Tamil.

A label is the code points in logical order: a vowel sign follows its consonant, even where it is drawn before it. NFC
joins the two halves of ொ ோ ௌ. Digits are ASCII's: signs do not use the Tamil ones.
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

_LETTERS = "அஆஇஈஉஊஎஏஐஒஓஔஃகஙசஞடணதநபமயரலவழளறனஜஷஸஹ"
_MARKS = "\u0bbe\u0bbf\u0bc0\u0bc1\u0bc2\u0bc6\u0bc7\u0bc8\u0bca\u0bcb\u0bcc\u0bcd"

LANGUAGE = Language(
    code="ta",
    name="Tamil",
    charset=ASCII + _LETTERS + _MARKS + "“”‘’–—…₹",
    direction="ltr",
    corpus=corpus_of("ta"),
)
