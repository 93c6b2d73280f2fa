"""Case by language: rules of thumb in the code, words from signs here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dptr.text import casing
from dptr.text.rules import is_heldout

WORDS = [
    ("tr", "istanbul", "İSTANBUL", "İstanbul"),
    ("tr", "ışık", "IŞIK", "Işık"),
    ("tr", "diyarbakır", "DİYARBAKIR", "Diyarbakır"),
    ("az", "şirin", "ŞİRİN", "Şirin"),
    ("ka", "თბილისი", "თბილისი", "თბილისი"),
    ("hy", "երևան", "ԵՐԵՒԱՆ", "Երևան"),
    ("el", "αθήνα", "ΑΘΗΝΑ", "Αθήνα"),
    ("el", "έξοδος", "ΕΞΟΔΟΣ", "Έξοδος"),
    ("el", "μάιος", "ΜΑΪΟΣ", "Μάιος"),
    ("el", "νεράιδα", "ΝΕΡΑΪΔΑ", "Νεράιδα"),
    ("el", "αύριο", "ΑΥΡΙΟ", "Αύριο"),
    ("el", "γαϊδούρι", "ΓΑΪΔΟΥΡΙ", "Γαϊδούρι"),
    ("el", "ταΐζω", "ΤΑΪΖΩ", "Ταΐζω"),
    ("el", "ή", "Ή", "Ή"),
    ("nl", "ijsland", "IJSLAND", "IJsland"),
    ("nl", "rijn", "RIJN", "Rijn"),
    ("de", "straße", "STRASSE", "Straße"),
    ("fr", "œuvre", "ŒUVRE", "Œuvre"),
    ("ru", "ёлка", "ЁЛКА", "Ёлка"),
    ("ar", "سوق", "سوق", "سوق"),
    ("ja", "駅", "駅", "駅"),
]


@pytest.mark.parametrize(("language", "small", "capitals", "titled"), WORDS)
def test_words_of_signs(language, small, capitals, titled):
    assert casing.upper(small, language) == capitals
    assert (
        casing.title(small, language)
        == casing.title(capitals if language in ("tr", "az") else small, language)
        == titled
    )
    if language not in ("el", "de", "hy"):  # Greek, German, and Armenian capitals have forgotten something
        assert casing.lower(capitals, language) == small


@pytest.mark.parametrize(("language", "small", "capitals", "titled"), WORDS)
def test_all_cases_of_a_word_are_on_one_side_of_the_split(language, small, capitals, titled):
    assert casing.key(small) == casing.key(capitals) == casing.key(titled)
    assert len({is_heldout(word, 0.5) for word in (small, capitals, titled)}) == 1


@given(st.text(), st.sampled_from(["en", "de", "fr", "ru"]))
def test_other_languages_are_left_to_python(text, language):
    assert casing.upper(text, language) == text.upper()
    assert casing.lower(text, language) == text.lower()
    assert casing.title(text, language) == text.capitalize()


@given(st.text(st.characters(exclude_characters="ıİi", max_codepoint=0x2FF)))
def test_key_is_casefold_without_such_letters(text):
    assert casing.key(text) == text.casefold()
