"""Czech."""

from __future__ import annotations

from dptr.text.language import ASCII, Language, corpus_of

LANGUAGE = Language(
    code="cs",
    name="Czech",
    charset=ASCII + "áčďéěíňóřšťúůýžÁČĎÉĚÍŇÓŘŠŤÚŮÝŽ" + "„“‚‘»«–—…€§°",
    direction="ltr",
    corpus=corpus_of("cs"),
)
