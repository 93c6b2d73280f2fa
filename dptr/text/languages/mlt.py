"""The ten languages of the MLT challenge, in one charset.

Nayef et al., "ICDAR2019 Robust Reading Challenge on Multi-lingual Scene Text Detection and Recognition", arXiv
1907.00945: Arabic, Bangla, Chinese, English, French, German, Hindi, Italian, Japanese, Korean.
"""

from __future__ import annotations

from dptr.text.language import Language, corpus_of, union_of
from dptr.text.languages import ar, bn, de, en, fr, hi, it, ja, ko, zh

PARTS = tuple(part.LANGUAGE for part in (en, ar, bn, zh, fr, de, hi, it, ja, ko))

LANGUAGE = Language(
    code="mlt",
    name="MLT, ten languages",
    charset=union_of(PARTS),
    direction="mixed",
    corpus=corpus_of(*(part.code for part in PARTS), top=50_000),
)
