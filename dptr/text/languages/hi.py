"""Hindi, in Devanagari.

A label is the code points in logical order: a vowel sign follows its consonant, even ि, which is drawn before it; a
conjunct is consonant, virama, consonant (क्ष is three characters). NFC takes the letters with a nukta apart (क़ is क and
U+093C). The joiners U+200C and U+200D choose the form of a conjunct, and stay.
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

_LETTERS = "ॐअआइईउऊऋऌऍएऐऑओऔकखगघङचछजझञटठडढणतथदधनपफबभमयरलळवशषसहऽ"
_MARKS = "\u0901\u0902\u0903\u093c\u093e\u093f\u0940\u0941\u0942\u0943\u0945\u0947\u0948\u0949\u094b\u094c\u094d"

LANGUAGE = Language(
    code="hi",
    name="Hindi",
    charset=ASCII + _LETTERS + _MARKS + "\u200c\u200d" + "०१२३४५६७८९" + "।॥॰“”‘’–—…₹",
    direction="ltr",
    corpus=corpus_of("hi"),
)
