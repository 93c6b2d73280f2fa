from __future__ import annotations

import pytest

from dptr.text.languages import LANGUAGES
from dptr.text.scripts import NO_SCRIPT, SCRIPTS, languages_of, script_of_text, scripts_of_language


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
