"""Expressions as automata, against Python's ``re`` on every string up to some length; and what is refused."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptr.text.automaton import Automaton
from dptr.text.charset import Charset, resolve_charset
from dptr.text.regular import compile_expression
from dptr.utils.errors import UserError

CHARSET = Charset("few", tuple("abB1-."))
STRINGS = ["".join(letters) for length in range(5) for letters in itertools.product("abB1-.", repeat=length)]


def accepts(automaton: Automaton, text: str, charset: Charset = CHARSET) -> bool:
    return automaton.accepts([1 + charset.index(character) for character in text])


def check_like_re(pattern: str) -> None:
    matcher = re.compile(pattern)
    expected = [text for text in STRINGS if matcher.fullmatch(text)]
    try:
        automaton = compile_expression(pattern, CHARSET)
    except UserError as error:
        assert "matches no word" in str(error) and not expected
        return
    assert [text for text in STRINGS if accepts(automaton, text)] == expected


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "a*",
            "(a|b)*B",
            "[a-b]{2,3}-?1",
            "",
            "a||b",
            "(a?|b)*",
            "[^ab]+",
            ".{2}",
            r"\w\d",
            r"\W*",
            "a{,2}1",
            "a{2,}",
        ),
        *("[]a]", "[^]a]", "[a-]b", "[-a]+", "a{", "a{1,b}", "((a*)*b)*", "(ab|a)(bB|1)", "^a|b$", r"\.\-", r"[\d.]+"),
        *(
            "a{0}b",
            "a{0}",
            "{a",
            "a{1}b",
            "(|a)b",
            "(?:a|b){2}",
            r"[^\d]",
            r"[\w-]1",
            r"\S\s*",
            "[a.]{3}",
            "()",
            "(a|)*",
        ),
    ],
)
def test_expressions_match_what_re_matches(pattern: str) -> None:
    check_like_re(pattern)


ATOMS = st.sampled_from(["a", "b", "B", "1", "-", r"\.", ".", "[ab]", "[^a]", r"\d", r"\w", r"\W", "[1-]", "[^B1]"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{,2}", "{2,}"])).map(
            lambda p: f"(?:{p[0]}){p[1]}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(PATTERNS)
def test_random_expressions_match_what_re_matches(pattern: str) -> None:
    check_like_re(pattern)


@pytest.mark.parametrize(
    ("pattern", "states"),
    [("a*", 1), ("(a|b)*", 1), ("a{2,4}", 5), ("(aa|ba)(1|-)", 4), ("(a|b)*a(a|b){3}", 16), ("a|aa|aaa", 4)],
)
def test_automata_are_minimal(pattern: str, states: int) -> None:
    """Of two letters, the fourth of which from the end is an a: 2^4 states, as every textbook says."""
    assert len(compile_expression(pattern, CHARSET).accepting) == states


def test_letters_of_the_case_that_a_charset_lacks_stand_for_the_other() -> None:
    lower = resolve_charset("36")
    for pattern in ("[A-Z]{2}1", "AB1|[x]", "[^A-Z1]{2}"):
        automaton = compile_expression(pattern, lower)
        matcher = re.compile(pattern, re.IGNORECASE)
        for text in ("ab1", "zz1", "b1", "abc", "x", "22"):
            assert accepts(automaton, text, lower) == bool(matcher.fullmatch(text)), (pattern, text)


def test_a_letter_and_its_accent_are_the_letter_with_it() -> None:
    """As labels and words of a lexicon are; it matched nothing, and the other choices alone."""
    charset = resolve_charset("fr")
    automaton = compile_expression("cafe\u0301|[e\u0301x]", charset)
    read = [word for word in ("café", "cafe", "é", "x", "e") if automaton.accepts([charset.index(c) + 1 for c in word])]
    assert read == ["café", "é", "x"]


def test_characters_that_a_charset_lacks_match_nothing() -> None:
    automaton = compile_expression("a[€b]|€1", CHARSET)
    assert [text for text in STRINGS if accepts(automaton, text)] == ["ab"]
    with pytest.raises(UserError, match=r"pattern '€a': matches no word over the 6 characters.*lacks '€' \(U\+20AC\)"):
        compile_expression("€a", CHARSET)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", r"position 1: '\(' without '\)'"),
        ("a)", r"position 2: '\)' without '\('"),
        ("[a", r"position 1: '\[' without '\]'"),
        ("*a", r"position 1: '\*' with nothing to repeat"),
        ("ab**", "position 4: a repeat of a repeat"),
        ("a*?", "position 2: a lazy repeat"),
        ("a{2}+", "position 2: a possessive repeat"),
        ("a(?=b)", "position 2: lookahead"),
        ("(?<!a)b", "position 1: lookbehind"),
        ("(?P<n>a)", "position 1: a named group"),
        ("(?i)a", "position 1: a flag"),
        (r"(a)\1", r"position 4: a backreference, '\\1'"),
        (r"\bword", r"position 1: this escape, '\\b'"),
        ("a\\", "position 2: .* at the end"),
        ("[b-a]", "position 2: not a range, 'b-a'"),
        (r"[\d-a]", "position 2: not a range"),
        ("a^b", r"position 2: '\^' elsewhere"),
        ("(a$)", r"position 3: '\$' elsewhere"),
        ("a{3,1}", "position 2: .* second number is below"),
        ("a{2000}", "position 2: .* more than 1000"),
        ("(.{500}){500}", "too large"),
        ("(a|b)*a(a|b){20}", "too large"),
    ],
)
def test_what_is_not_understood_is_named_with_its_position(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        compile_expression(pattern, CHARSET)
    assert "\n" not in str(error.value)
