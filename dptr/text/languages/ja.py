"""Japanese.

Letters are the kana (rows 4 and 5) and the 6,355 kanji (level 1, rows 16 to 47; level 2, rows 48 to 84) of JIS X 0208,
and the signs that repeat or stretch them. Full-width digits, letters and signs that are not listed become ASCII's
(``Charset.fold``).
"""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of
from dptr.text.languages.codec import rows

LANGUAGE = Language(
    code="ja",
    name="Japanese",
    charset=ASCII
    + rows("euc_jp", 4, 5)
    + rows("euc_jp", 16, 84)
    + "ー々〆〇ゝゞヽヾ"
    + "、。，．：；？！・…―〜（）「」『』【】〈〉《》〔〕“”‘’※〒¥℃°",
    direction="ltr",
    corpus=corpus_of("ja"),
)
