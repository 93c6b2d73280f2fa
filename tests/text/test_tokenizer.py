"""Token ids and decoding, against loops and tables made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dptr.text.charset import Charset, resolve_charset
from dptr.text.tokenizer import Decoded, Tokenizer
from dptr.utils.errors import UserError

ABC = Charset("abc", ("a", "b", "中", "😀"))
WORDS = st.lists(st.text(alphabet=ABC.characters, max_size=6), max_size=8)


def test_ids():
    tokenizer = Tokenizer(ABC, 6)
    assert (tokenizer.eos, tokenizer.bos, tokenizer.pad) == (0, 5, 6)
    assert (tokenizer.classes, tokenizer.vocabulary) == (5, 7)
    assert tokenizer.encode(["ab", "", "😀中b"]).tolist() == [[5, 1, 2, 0, 6], [5, 0, 6, 6, 6], [5, 4, 3, 2, 0]]
    full = tokenizer.encode(["ab"], full_length=True)
    assert full.tolist() == [[5, 1, 2, 0, 6, 6, 6, 6]] and full.dtype == np.int64


def test_parseq_has_the_same_ids():
    """PARSeq's Tokenizer over 94_full: [E] 0, '0' 1, ..., '~' 94, [B] 95, [P] 96."""
    tokenizer = Tokenizer(resolve_charset("94"), 25)
    assert tokenizer.encode(["0aA~"]).tolist() == [[95, 1, 11, 37, 94, 0]]
    assert tokenizer.pad == 96 and tokenizer.classes == 95


@given(WORDS, st.booleans())
def test_encode_equals_a_loop(words, full_length):
    tokenizer = Tokenizer(ABC, 6)
    width = 6 if full_length else max(map(len, words), default=0)
    expected = [[5, *(ABC.characters.index(c) + 1 for c in word), 0, *[6] * (width - len(word))] for word in words]
    tokens = tokenizer.encode(words, full_length)
    assert tokens.shape == (len(words), width + 2)
    assert tokens.tolist() == expected


@given(WORDS)
def test_round_trip(words):
    tokenizer = Tokenizer(ABC, 6)
    targets = tokenizer.encode(words)[:, 1:]
    one_hot = np.eye(tokenizer.vocabulary)[targets][:, :, : tokenizer.classes]  # PAD: all zero, after the EOS
    decoded = tokenizer.decode(one_hot)
    assert decoded == [Decoded(word, 1.0, (1.0,) * len(word), word, len(word)) for word in words]


def test_spaces_at_the_ends_is_dropped_and_its_doubt_is_kept():
    tokenizer = Tokenizer(Charset("spaces", ("a", " ")), 6)
    best = {"a": [1, 0.9], " ": [2, 0.8], "$": [0, 0.6]}
    rows = np.zeros((3, 6, 3))
    written = ["  a a ", "  $$$$", "aaaaa "]
    for row, text in zip(rows, written, strict=True):
        for place, character in enumerate(text.ljust(6, "$")):
            row[place, int(best[character][0])] = best[character][1]
    words = tokenizer.decode(rows)
    assert [word.text for word in words] == ["a a", "", "aaaaa"]
    assert [word.characters for word in words] == [(0.9, 0.8, 0.9), (), (0.9,) * 5]
    assert [word.length for word in words] == [6, 2, 6] and [word.ended for word in words] == [False, True, False]
    assert [word.confidence for word in words] == pytest.approx([0.9**2 * 0.8**4, 0.8 * 0.8 * 0.6, 0.9**5 * 0.8])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["ab", "aéb"], "'aéb'"),
        (["ab", "aéb"], "U+00E9"),
        (["", "", "z", "a"], "'z'"),
        (["a\U0010ffff"], "U+10FFFF"),
        (["a", "a" * 7], "7 characters, at most 6"),
        (["a", "\ud800"], "U+D800"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(words, named):
    with pytest.raises(UserError) as caught:
        Tokenizer(ABC, 6).encode(words)
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_no_room_is_refused():
    with pytest.raises(UserError, match="max_length 0"):
        Tokenizer(ABC, 0)


# classes:            EOS   a     b     中    😀
TABLE = np.array(
    [
        [
            [0.10, 0.60, 0.10, 0.10, 0.10],  # a 0.6
            [0.20, 0.10, 0.50, 0.10, 0.10],  # b 0.5
            [0.80, 0.05, 0.05, 0.05, 0.05],  # EOS 0.8
            [0.10, 0.10, 0.10, 0.60, 0.10],  # after the EOS: no part of it
        ],
        [
            [0.90, 0.10, 0.00, 0.00, 0.00],  # EOS at once
            [0.00, 0.00, 0.00, 1.00, 0.00],
            [0.00, 0.00, 0.00, 1.00, 0.00],
            [0.00, 0.00, 0.00, 1.00, 0.00],
        ],
        [
            [0.00, 0.00, 0.00, 0.00, 1.00],  # 😀 1.0
            [0.00, 0.00, 0.00, 0.75, 0.25],  # 中 0.75
            [0.00, 0.50, 0.25, 0.25, 0.00],  # a 0.5
            [0.25, 0.00, 0.75, 0.00, 0.00],  # b 0.75, and no EOS
        ],
    ]
)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_decode_a_table_made_by_hand(dtype):
    decoded = Tokenizer(ABC, 3).decode(TABLE.astype(dtype))
    assert [word.text for word in decoded] == ["ab", "", "😀中ab"]
    assert [word.confidence for word in decoded] == pytest.approx([0.6 * 0.5 * 0.8, 0.9, 0.75 * 0.5 * 0.75])
    assert decoded[0].characters == pytest.approx((0.6, 0.5))
    assert decoded[1].characters == ()
    assert decoded[2].characters == pytest.approx((1.0, 0.75, 0.5, 0.75))
    assert all(type(p) is float for word in decoded for p in (word.confidence, *word.characters))


def test_confidence_is_the_probability_of_the_string_by_enumeration():
    """Sum over all paths of what follows the EOS: the probability of reading exactly this string."""
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=(20, 3))
    tokenizer = Tokenizer(Charset("ab", ("a", "b")), 3)
    for table, word in zip(probabilities, tokenizer.decode(probabilities), strict=True):
        chance: dict[str, float] = {}
        for path in np.ndindex(3, 3, 3):
            text = "".join(" ab"[i] for i in path).split(" ")[0]
            chance[text] = chance.get(text, 0.0) + math.prod(float(table[t, i]) for t, i in enumerate(path))
        assert word.confidence == pytest.approx(chance[word.text])


def test_one_word_alone_equals_the_word_in_a_batch():
    probabilities = np.random.default_rng(1).dirichlet(np.ones(5), size=(6, 4)).astype(np.float32)
    tokenizer = Tokenizer(ABC, 4)
    assert [tokenizer.decode(one[None])[0] for one in probabilities] == tokenizer.decode(probabilities)


def test_empty_batch():
    tokenizer = Tokenizer(ABC, 4)
    assert tokenizer.encode([]).shape == (0, 2)
    assert tokenizer.decode(np.zeros((0, 4, 5))) == []


def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match=r"\(2, 3, 7\)"):
        Tokenizer(ABC, 4).decode(np.zeros((2, 3, 7)))
