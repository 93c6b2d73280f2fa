"""Prompts: what keeps case keeps it, and no two words share a prompt."""

import string
import sys
import unicodedata

import numpy as np
import pytest
from helpers_clip import make_tiny_clip

from dptr.dual.clip.prompts import PROMPTS, resolve_prompt
from dptr.utils.errors import UserError

KEEP_CASE = ["marked", "spelled"]
CHARSET_94 = string.digits + string.ascii_letters + string.punctuation


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    pytest.importorskip("transformers", reason="the clip extra is not installed")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(make_tiny_clip(tmp_path_factory.mktemp("clip")))


def random_words(characters: str, count: int, longest: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(characters), rng.integers(1, longest + 1))) for _ in range(count)]


def casings(word: str) -> set[str]:
    """Every way to write a word in lower and upper case."""
    ways = {""}
    for character in word:
        ways = {way + cased for way in ways for cased in (character.lower(), character.upper())}
    return ways


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper", "a photo of a 'Te^A1'"),
        ("marked", "a photo of a '^te^^^a1'"),
        ("spelled", "a photo of the letters capital t e ^ capital a 1"),
    ],
)
def test_written_out(name, expected):
    assert PROMPTS[name]("Te^A1") == expected


@pytest.mark.parametrize("name", KEEP_CASE)
def test_case_keeping_prompts_are_all_lower_case(name):
    for word in random_words(CHARSET_94 + "ÄÖÜẞΩЖİ", 200, 25, seed=0):
        assert PROMPTS[name](word) == PROMPTS[name](word).lower()


@pytest.mark.parametrize("name", KEEP_CASE)
def test_words_that_differ_only_in_case_have_different_tokens(name, tokenizer):
    for word in ["tea", "o1o", "x", "a^b", "capital", "c-a"]:
        ways = sorted(casings(word))
        rows = {tuple(row) for row in tokenizer([PROMPTS[name](way) for way in ways])["input_ids"]}
        assert len(rows) == len(ways) >= 2


def test_the_papers_prompt_loses_case_in_a_tower_that_lower_cases(tokenizer):
    lower, upper = tokenizer([PROMPTS["paper"]("tea"), PROMPTS["paper"]("TEA")])["input_ids"]
    assert lower == upper


@pytest.mark.parametrize("name", KEEP_CASE)
def test_random_strings_never_share_tokens(name, tokenizer):
    # few characters, those that the prompts themselves use: short strings collide where any could
    crowded = set(random_words("aA^~c", 6000, 6, seed=1))
    assert len(crowded) > 2000
    varied = set(random_words(CHARSET_94, 2000, 25, seed=2))
    for words in (crowded, varied):
        rows = tokenizer([PROMPTS[name](word) for word in words])["input_ids"]
        assert len({tuple(row) for row in rows}) == len(words)


@pytest.mark.parametrize("name", KEEP_CASE)
def test_no_two_characters_of_unicode_share_a_prompt(name):
    characters = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co", "Cc", "Zs", "Zl", "Zp")
        and unicodedata.is_normalized("NFC", chr(code))
    ]
    assert len(characters) > 100_000
    assert {"ǅ", "ϴ", "İ"} < set(characters)  # others share their lower case, or have one of two code points
    assert len({PROMPTS[name](character).lower() for character in characters}) == len(characters)


@pytest.mark.parametrize("name", KEEP_CASE)
def test_25_capitals_fit_the_77_tokens_of_clip(name, tokenizer):
    (row,) = tokenizer([PROMPTS[name]("W" * 25)], verbose=False)["input_ids"]
    assert len(row) <= 77


def test_templates():
    assert resolve_prompt("a {x} '{}'")("{}%s") == "a {x} '{}%s'"
    assert resolve_prompt("paper") is PROMPTS["paper"]
    assert resolve_prompt("a photo of a '{}'")("Tea") == PROMPTS["paper"]("Tea")


@pytest.mark.parametrize("spec", ["speled", "two {} and {}", "", "a photo"])
def test_neither_name_nor_template(spec):
    with pytest.raises(UserError, match=r"dual\.prompt = .*paper, marked, spelled") as caught:
        resolve_prompt(spec)
    assert "\n" not in str(caught.value)


def test_the_nearest_name_is_given():
    with pytest.raises(UserError, match="did you mean 'spelled'"):
        resolve_prompt("speled")
