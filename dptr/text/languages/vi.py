"""Vietnamese.

Every letter with its tone is one code point after NFC, so that a label has as many characters as it has letters.
wordfreq's list is short (10,719 entries): it holds syllables, which Vietnamese writes apart.
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

_LETTERS = "àảãáạăằẳẵắặâầẩẫấậđèẻẽéẹêềểễếệìỉĩíịòỏõóọôồổỗốộơờởỡớợùủũúụưừửữứựỳỷỹýỵ"

LANGUAGE = Language(
    code="vi",
    name="Vietnamese",
    charset=ASCII + _LETTERS + _LETTERS.upper() + "“”‘’«»–—…₫°",
    direction="ltr",
    corpus=corpus_of("vi"),
)
