from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dptr.text.charset import Charset, resolve_charset
from dptr.text.lexicon import compile_words, load_words, spell_words
from dptr.utils.errors import UserError

CHARSET = Charset("abc", tuple("abc"))


@given(st.sets(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=20), st.text("abc", max_size=5))
def test_an_automaton_accepts_its_words_alone(words: set[str], other: str) -> None:
    automaton = compile_words(words, CHARSET)
    for text in (*words, other):
        assert automaton.accepts([1 + CHARSET.index(each) for each in text]) == (text in words)


def test_words_with_the_same_endings_share_states() -> None:
    words = [first + second for first in ("a", "b", "ca") for second in ("bca", "bcb")]
    assert len(compile_words(words, CHARSET).accepting) == 6  # start, c, (a|b|ca), b, c, end


def test_words_are_spelled_as_the_charset_spells_them() -> None:
    assert spell_words(["Exit", "exit ", "Two Words"], resolve_charset("36"), 25, "lexicon") == ["exit", "twowords"]
    assert spell_words(["Two  Words"], resolve_charset("94+space"), 25, "lexicon") == ["Two Words"]


def test_a_refused_word_is_named_as_it_stands_in_the_list() -> None:
    with pytest.raises(
        UserError, match=r"\(first in 'AAF-6142'\); remove such words, or pass another charset or model"
    ):
        spell_words(["AAF-6142"], resolve_charset("36"), 25, "l")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "l: no words"),
        (["ab", " "], "l: a word without characters"),
        (["ab", "a€ü"], r"l: 'ü€' \(U\+00FC U\+20AC\) not among the 3 characters of charset 'abc' \(first in 'a€ü'"),
        (["abcabc"], "l: 'abcabc' has 6 characters, the model reads 5 at most"),
    ],
)
def test_words_that_cannot_be_read_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        spell_words(words, CHARSET, 5, "l")


def test_files_hold_a_word_a_line(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\ufeffone\n\n two\r\nthree", encoding="utf-8")
    assert load_words(file) == ["one", " two", "three"]
    for content, message in ((b"\n \n", "no words"), (b"\xff", "not UTF-8"), (None, "No such file")):
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with pytest.raises(UserError, match=message):
            load_words(file)
