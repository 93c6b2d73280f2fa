"""Chinese, simplified.

Letters are the 6,763 characters of GB 2312-80 (level 1, rows 16 to 55; level 2, rows 56 to 87), and 〇, the zero of
written numbers. Full-width digits, letters and signs that are not listed become ASCII's (``Charset.fold``).
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of
from dptr.text.languages.codec import rows

LANGUAGE = Language(
    code="zh",
    name="Chinese (simplified)",
    charset=ASCII + rows("gb2312", 16, 87) + "〇" + "，。、；：？！…—·～（）《》〈〉【】〔〕「」『』“”‘’¥€℃°",
    direction="ltr",
    corpus=corpus_of("zh"),
)
