"""What characters are made of."""

import numpy as np
import pytest

from dptr.text.decomposition import part_weights, read_decomposition
from dptr.utils.errors import UserError


def test_hangul_is_made_of_jamo_by_the_rule_of_unicode():
    """Unicode Standard, 3.12: syllable = 0xAC00 + (lead * 21 + vowel) * 28 + tail."""
    syllables = [chr(code) for code in range(0xAC00, 0xD7A4, 7)]
    for syllable, parts in read_decomposition("unicode", syllables).items():
        number = ord(syllable) - 0xAC00
        lead, vowel, tail = number // 588, number % 588 // 28, number % 28
        expected = chr(0x1100 + lead) + chr(0x1161 + vowel) + (chr(0x11A7 + tail) if tail else "")
        assert parts == expected


def test_letters_with_accents():
    assert read_decomposition("unicode", ["e", "é", "ế", "?"]) == {
        "e": "e",
        "é": "e\u0301",
        "ế": "e\u0302\u0301",
        "?": "?",
    }


def test_weights_are_those_of_shared_parts():
    weights, parts = part_weights({"é": "e\u0301", "á": "a\u0301", "e": "e", "林": "木木", "木": "木", "?": "?"})
    assert parts == ["e", "\u0301", "木"]  # a and ? belong to one character each
    half = 2**-0.5
    expected = [[half, half, 0], [0, 1, 0], [1, 0, 0], [0, 0, 2 * half], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(weights, np.array(expected), rtol=1e-6)


def test_a_file_of_components(tmp_path):
    path = tmp_path / "han.tsv"
    path.write_text("明\t日月\n林\t木木\n", encoding="utf-8")
    expected = {"明": "日月", "林": "木木", "é": "e\u0301", "x": "x"}
    assert read_decomposition(str(path), expected) == expected


@pytest.mark.parametrize(
    "text, message",
    [
        ("明日\n", "line 1: '明日'; write one character, a tab, and its parts"),
        ("明\t日\n明白\t日\n", "line 2"),
        ("明\t日 月\n", "without spaces"),
        ("明\t日\n明\t月\n", "line 2: '明' appears twice"),
    ],
)
def test_files_that_are_wrong(tmp_path, text, message):
    path = tmp_path / "han.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_decomposition(str(path), ["明"])


def test_a_file_that_is_not_there():
    with pytest.raises(UserError, match="pass 'unicode' or a file"):
        read_decomposition("jamo", ["각"])
