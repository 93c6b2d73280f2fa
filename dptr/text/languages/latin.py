"""The languages of this toolkit that write Latin letters, in one charset."""

from __future__ import annotations

from dptr.text.language import Language, corpus_of, union_of
from dptr.text.languages import cs, de, en, es, fr, it, nl, pl, pt, sv, tr, vi

PARTS = tuple(part.LANGUAGE for part in (en, de, fr, es, it, pt, nl, pl, cs, sv, tr, vi))

LANGUAGE = Language(
    code="latin",
    name="Latin script",
    charset=union_of(PARTS),
    direction="ltr",
    corpus=corpus_of(*(part.code for part in PARTS), top=50_000),
)
