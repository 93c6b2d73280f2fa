from __future__ import annotations

import re

import pytest

from dptr.text.charset import resolve_charset
from dptr.text.named_patterns import NAMED_PATTERNS, find_expression
from dptr.text.regular import compile_expression
from dptr.utils.errors import UserError

MATCHING = {
    "date": "2026-12-31 31/12/2026 31.12.2026 12/31/26 1/2/26 01.02.26 5-11-1998 12-31-1999 1.1.00",
    "price": "12.50 $1,299.00 5 0.99 1.299,00€ 7,20EUR -5.00 £3 EUR12 1,000 €1.000.000,00 ¥980",
    "iban": "DE89370400440532013000 GB29NWBK60161331926819 NO9386011117947 FR1420041010050500013M02606",
    "plate-de": "B-MW1234 M-XY99 HHAB123E WÜ-A1 K-OL77H S-AB1",
}
OTHERS = {
    "date": "2026-13-01 32/12/2026 31.12/2026 1/2/3 2026 12/31 20261231 2026-1-1 0/1/2020",
    "price": "12.5 1,2,3 $ 12,34,56 1.29.00 €€5 5- 12.345,6 . -",
    "iban": "DE89 89DE370400440532013000 de89370400440532013000 DEXX370400440532013000",
    "plate-de": "ABCD-EF12 B-MW0123 B-MW12345 BMW -AB12 B-ABC12 K-ÖL77",
}


def test_every_name_has_examples() -> None:
    assert NAMED_PATTERNS.keys() == MATCHING.keys() == OTHERS.keys()


@pytest.mark.parametrize("name", NAMED_PATTERNS)
def test_names_stand_for_what_they_say(name: str) -> None:
    matcher = re.compile(NAMED_PATTERNS[name])
    for text in MATCHING[name].split():
        assert matcher.fullmatch(text), text
    for text in OTHERS[name].split():
        assert not matcher.fullmatch(text), text


@pytest.mark.parametrize("name", NAMED_PATTERNS)
def test_names_are_understood_for_what_they_say(name: str) -> None:
    charset = resolve_charset("de")
    automaton = compile_expression(NAMED_PATTERNS[name], charset)
    for texts, expected in ((MATCHING, True), (OTHERS, False)):
        for text in texts[name].split():
            if charset.covers(text):
                assert automaton.accepts([1 + charset.index(each) for each in text]) == expected, text


@pytest.mark.parametrize("name", ["plate", "plates", "plate_de", "Date", "dates", "IBAN", "number", "license_plate"])
def test_a_word_that_is_meant_for_a_name_is_not_read_as_that_word(name: str) -> None:
    with pytest.raises(UserError, match=rf"pattern '{name}': there is none of this name; .* pass '\({name}\)'"):
        find_expression(name)


@pytest.mark.parametrize("pattern", ["EXIT", "data", "(plate)", "date|price", "[A-Z]{3}", "plate."])
def test_other_words_and_expressions_are_what_they_are(pattern: str) -> None:
    assert find_expression(pattern) == pattern
    assert find_expression("price") == NAMED_PATTERNS["price"]
