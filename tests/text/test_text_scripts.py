from __future__ import annotations

import pytest

from dptr.text.languages import LANGUAGES
from dptr.text.scripts import NO_SCRIPT, SCRIPTS, is_odd, languages_of, script_of_text, scripts_of_language


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("京PL3N67", "Han"), ("117تونس3989", "Arabic"), ("٣٩٤٥", "Arabic"), ("12:30 €", NO_SCRIPT), ("", NO_SCRIPT),
        ("漢字", "Han"), ("漢字かな", "Kana"), ("カー", "Kana"), ("漢한", "Hangul"), ("WiFi вход", "Cyrillic"),
        ("œuvre", "Latin"), ("’º×", NO_SCRIPT),
    ],
)  # fmt: skip
def test_the_script_of_a_text_is_the_one_that_a_recognizer_must_know(text: str, script: str) -> None:
    assert script_of_text(text) == script


def test_every_language_is_written_in_scripts_and_every_script_by_a_language() -> None:
    assert all(languages_of(script) for script in SCRIPTS)
    for code, language in LANGUAGES.items():
        if len({scripts_of_language(part) for part in language.parts}) < 2:
            assert all(code in languages_of(script) for script in scripts_of_language(code)), code
    assert scripts_of_language("en") == ("Latin",)
    assert scripts_of_language("bo") == (), "the classifier does not know Tibetan"
    assert "bo" not in languages_of("Latin")
    assert scripts_of_language("ja") == ("Kana", "Han")
    assert languages_of("Han") == ("ja", "zh")


ODD = "BOCbMOMY", "KaM6ok", "3ACTAHE", "HAY4AT", "KA4bIHCKA9", "sO", "BEPX BHN3y", "ẹYTYHA"
SPELLED = (
    *("", " ", "Market", "MARKET", "market", "L'Oréal", "Don't", "20:45", "A12", "24HRS", "2019", "Выход", "中国"),
    *("العربية", "a", "KA3BA Exit now", "2nd", "B2B", "AB12CDE", "X-4"),
)


@pytest.mark.parametrize("text", ODD)
def test_letters_that_a_recognizer_does_not_know_read_oddly(text: str) -> None:
    assert is_odd(text)


@pytest.mark.parametrize("text", SPELLED)
def test_words_as_they_are_spelled_are_not_odd(text: str) -> None:
    assert not is_odd(text)
