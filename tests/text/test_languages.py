"""Every language of the dict, one generic test each."""

from __future__ import annotations

import importlib.util

import pytest

from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.languages import LANGUAGES


@pytest.mark.parametrize("code", LANGUAGES)
def test_language_is_well_formed(code):
    language = LANGUAGES[code]
    assert language.code == code and language.name and language.direction in ("ltr", "rtl")
    assert resolve_charset(code).characters == tuple(language.charset)


@pytest.mark.skipif(importlib.util.find_spec("wordfreq") is None, reason="wordfreq is not installed")
@pytest.mark.parametrize("code", LANGUAGES)
def test_default_corpus_draws_every_character_and_drops_few_words(code):
    charset = resolve_charset(code)
    corpus = Corpus(LANGUAGES[code].corpus, charset, max_length=25, seed=0)
    drawn = {character for index in range(20_000) for character in corpus.word(index)}
    assert drawn == set(charset.characters)
    assert sum(corpus.dropped.values()) < 0.05 * sum(corpus.words.values())
