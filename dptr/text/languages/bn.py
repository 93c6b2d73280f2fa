"""Bengali.

A label is the code points in logical order: a vowel sign follows its consonant, even where it is drawn before it. NFC
joins the two halves of ো and ৌ, and takes ড় ঢ় য় apart (letter and U+09BC). The joiners U+200C and U+200D choose the
form of a conjunct, and stay.
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

_LETTERS = "৺অআইঈউঊঋৠঌৡএঐওঔকখগঘঙচছজঝঞটঠডঢণতৎথদধনপফবভমযরলশষসহঽ"
_MARKS = (
    "\u0981\u0982\u0983\u09bc\u09be\u09bf\u09c0\u09c1\u09c2\u09c3\u09c4\u09c7\u09c8\u09cb\u09cc\u09cd\u09d7\u09e2\u09e3"
)

LANGUAGE = Language(
    code="bn",
    name="Bengali",
    charset=ASCII + _LETTERS + _MARKS + "\u200c\u200d" + "০১২৩৪৫৬৭৮৯" + "।॥“”‘’–—…৳₹",
    direction="ltr",
    corpus=corpus_of("bn"),
)
