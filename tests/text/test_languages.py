"""Every language of the dict, the same tests for each."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from dptr.synth import EMBEDDED, FontIndex, find_fonts
from dptr.text import casing
from dptr.text.charset import Charset, check_label, normalize_label, resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.language import ASCII
from dptr.text.languages import LANGUAGES, read_language
from dptr.text.tokenizer import Tokenizer
from dptr.text.unicode import JOINERS, directions, script
from dptr.utils.errors import UserError

CODES = "en de fr es it pt nl pl cs sv tr vi ru uk el ar fa he hi bn ta zh ja ko latin mlt"
UNIONS = [code for code in LANGUAGES if LANGUAGES[code].parts]
SCRIPTS = {"latin": {"LATIN"}, "cyrillic": {"CYRILLIC"}, "arabic": {"ARABIC"}, "devanagari": {"DEVANAGARI"}}
EAST_ASIAN = {"zh": 6763, "ja": 6355 + 83 + 86 + 7, "ko": 2350}  # ja: kanji, both kana, ー々〆ゝゞヽヾ
wordfreq = pytest.mark.skipif(importlib.util.find_spec("wordfreq") is None, reason="wordfreq is not installed")


def default_corpus(code: str, top: int | None = None, split="train", **settings) -> Corpus:
    """The corpus of a language, of the ``top`` most frequent words of each list."""
    config = LANGUAGES[code].corpus()
    sources = tuple(source.model_copy(update={"top": top or source.top}) for source in config.sources)
    config = config.model_copy(update={"sources": sources, **settings})
    return Corpus(config, resolve_charset(code), max_length=25, seed=0, split=split)


def test_the_languages_asked_for_are_there():
    assert set(CODES.split()) <= set(LANGUAGES)


@pytest.mark.parametrize("code", LANGUAGES)
def test_language_is_well_formed(code):
    language = LANGUAGES[code]
    assert language.code == code and language.name
    charset = resolve_charset(code)
    assert charset.characters == tuple(language.charset)
    assert set(ASCII) <= set(language.charset)
    assert charset.fold(language.charset) == language.charset, "no character is another one's variant"
    capitals = (casing.upper(character, code) for character in language.charset)
    assert all(capital in charset for capital in capitals if len(capital) == 1)


@pytest.mark.parametrize("code", LANGUAGES)
def test_direction_is_that_of_the_script(code):
    own = [character for character in LANGUAGES[code].charset if character not in ASCII]
    found = directions(own) or {"ltr"}  # of Latin letters that ASCII has
    assert LANGUAGES[code].direction == ("mixed" if len(found) == 2 else min(found))


@pytest.mark.parametrize("code", EAST_ASIAN)
def test_east_asian_letters_are_those_of_the_national_standard(code):
    assert sum(script(character) == "EAST ASIAN" for character in LANGUAGES[code].charset) == EAST_ASIAN[code]


@pytest.mark.parametrize("code", UNIONS)
def test_unions_are_unions(code):
    parts = [LANGUAGES[part] for part in LANGUAGES[code].parts]
    assert set(LANGUAGES[code].charset) == set().union(*(part.charset for part in parts))
    words = [source for source in LANGUAGES[code].corpus().sources if source.kind != "pattern"]
    own = [source for part in parts for source in part.corpus().sources if source.kind != "pattern"]
    assert [(each.kind, each.language) for each in words] == [(each.kind, each.language) for each in own]
    assert len({each.weight for each in words}) == 1 and sum(each.weight for each in words) == pytest.approx(0.75)


@pytest.mark.parametrize("union", SCRIPTS)
def test_unions_hold_every_language_of_their_script(union):
    beyond = {code: {script(c) for c in LANGUAGES[code].charset if c not in ASCII} - {""} for code in LANGUAGES}
    parts = {code for code in LANGUAGES if (beyond[code] or {"LATIN"}) == SCRIPTS[union]} - {*UNIONS}
    assert set(LANGUAGES[union].parts) == parts


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('name = "X"\nletter = "x"', "no language has letter"),
        ('name = "X"\ndirection = "up"', "direction = 'up'; write ltr, rtl, or mixed"),
        ('name = "X"\nwords = "web"', "words = 'web'; write wordfreq or cldr"),
        ('name = "X"\nunion = ["y"]\nletters = "x"', "no language has letters"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, told):
    (tmp_path / "y.toml").write_text('name = "Y"\nletters = "ý"\nlist = "cs"', encoding="utf-8")
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        read_language(tmp_path / "x.toml")
    assert read_language(tmp_path / "y.toml").charset == ASCII + "ý"


@pytest.fixture(scope="module", params=LANGUAGES)
def corpus(request) -> Corpus:
    """The default corpus with lists of 20,000 words, one language at a time."""
    pytest.importorskip("wordfreq")
    return default_corpus(request.param, top=20_000)


def test_default_corpus_drops_few_words(corpus):
    """CLDR names foreign countries and currencies with foreign letters."""
    names = any(source.name.startswith("cldr:") for source in corpus.sources)
    assert sum(corpus.dropped.values()) < (0.06 if names else 0.02) * sum(corpus.words.values())


@pytest.mark.slow
@wordfreq
@pytest.mark.parametrize("code", LANGUAGES)
def test_default_corpus_drops_few_words_of_the_whole_list(code):
    corpus = default_corpus(code)
    assert sum(corpus.dropped.values()) < 0.06 * sum(corpus.words.values())


def test_default_corpus_draws_every_character(corpus):
    """But for letters of the East Asian standards, which random strings bring some time or other, and joiners.

    So they do for a few characters that no name of a short list has, such as Tibetan letters below others.
    """
    drawn = {character for index in range(20_000) for character in corpus.word(index)}
    missing = {c for c in set(corpus.charset.characters) - drawn if script(c) != "EAST ASIAN" and c not in JOINERS}
    assert drawn <= set(corpus.charset.characters)
    few = sum(corpus.words.values()) < 1000
    share = 0.1 if len(corpus.charset) > 1000 else 0.03 if few else 0.02 if corpus.charset.name in UNIONS else 0
    assert len(missing) <= share * len(drawn), sorted(missing)


def test_words_are_labels_and_survive_the_tokenizer(corpus):
    charset, tokenizer = corpus.charset, Tokenizer(corpus.charset, 25)
    words = [corpus.word(index) for index in range(2000)]
    assert [check_label(word, charset, 25) for word in words] == [(word, None) for word in words]
    assert [normalize_label(word) for word in words] == words
    for start in range(0, 40, 4):
        ids = tokenizer.encode(words[start : start + 4])[:, 1:]
        one_hot = np.zeros((*ids.shape, tokenizer.classes), np.float32)
        np.put_along_axis(one_hot, np.minimum(ids, tokenizer.classes - 1)[..., None], 1, axis=2)
        assert [read.text for read in tokenizer.decode(one_hot)] == words[start : start + 4]


@wordfreq
@pytest.mark.parametrize("code", ["de", "fr", "tr", "ru", "el"])
def test_no_train_word_is_held_out_in_any_case(code):
    drawn = {}
    for split in ("train", "heldout"):
        corpus = default_corpus(code, 3000, split, heldout=0.3, upper=0.4, mixed=0.2)
        words = [corpus.word(index) for index in range(4000)]
        drawn[split] = {form for word in words for form in (word, word.casefold(), word.lower(), word.upper())}
    assert not {form for form in drawn["train"] & drawn["heldout"] if len(form) > 2}


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_character_is_one_that_fonts_draw(code, drawable):
    """But for Han and Hangul, of which the fonts of ``tests/fonts`` hold the most frequent ones; and joiners."""
    known = [
        c for c in LANGUAGES[code].charset if c not in JOINERS and not (script(c) == "EAST ASIAN" and c >= "\u3400")
    ]
    assert not [c for c in known if not drawable[ord(c)]]


@pytest.fixture(scope="module")
def drawable(script_fonts) -> np.ndarray:
    """By code point, whether a font that the project brings draws it."""
    covered = np.zeros(0x110000, bool)
    for font in (*script_fonts, *find_fonts([EMBEDDED])):
        for first, last in font.coverage:
            covered[first : last + 1] = True
    return covered


def test_joiners_need_no_glyph(font_folder):
    index = FontIndex(find_fonts([font_folder]))
    assert index.can_draw("a\u200cb") and not index.can_draw("\u200c") and not index.can_draw("a\u200c漢")
    with pytest.raises(UserError, match="no font has 漢;"):
        index.choose("a\u200c漢", 0.5)


def test_a_charset_of_a_language_is_not_confused_with_a_file_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "de").write_text("abc", encoding="utf-8")
    assert len(resolve_charset("de")) > 100 and resolve_charset("./de") == Charset("de", ("a", "b", "c"))
