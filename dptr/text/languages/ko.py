"""Korean.

Letters are the 2,350 Hangul syllables of KS X 1001 (rows 16 to 40), each one code point after NFC. Left out are single
jamo and hanja. Full-width digits, letters and signs become ASCII's (``Charset.fold``).
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of
from dptr.text.languages.codec import rows

LANGUAGE = Language(
    code="ko",
    name="Korean",
    charset=ASCII + rows("euc_kr", 16, 40) + "“”‘’「」『』《》〈〉【】·…、。〜–—₩℃°",
    direction="ltr",
    corpus=corpus_of("ko"),
)
