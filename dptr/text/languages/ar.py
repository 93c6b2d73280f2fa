"""Arabic.

A label is the letters in logical order, each as its nominal code point, whatever form it takes beside its neighbors;
a vowel sign follows its letter. NFC joins madda and hamza with their letter (آ أ إ ؤ ئ). Added to CLDR's main set:
پ چ ڤ گ of its auxiliary set, for foreign names. The stretching sign ـ is left out of labels (``Charset.fold``).
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

_LETTERS = "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيپچڤگ"
_MARKS = "\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0670"

LANGUAGE = Language(
    code="ar",
    name="Arabic",
    charset=ASCII + _LETTERS + _MARKS + "٠١٢٣٤٥٦٧٨٩" + "،؛؟٪٫٬«»“”‘’–—…",
    direction="rtl",
    corpus=corpus_of("ar"),
)
