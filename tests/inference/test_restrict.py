from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from dptr.inference.beam import Hypotheses
from dptr.inference.best_path import collapse
from dptr.inference.confidence import WordConfidence
from dptr.inference.decoding import make_decoding
from dptr.inference.reader import Reader
from dptr.inference.restrict import restrict
from dptr.models.decoders import ctc
from dptr.text.charset import Charset, resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError


def test_other_characters_lose_to_the_best_allowed_one() -> None:
    charset = Charset("abc", tuple("abAB1"))
    digits = restrict(charset, Charset("digits", ("1",)))
    probabilities = np.array([[[0.1, 0.6, 0.1, 0.0, 0.0, 0.2], [0.5, 0.3, 0.1, 0.1, 0.0, 0.0]]], np.float32)
    moved = digits.apply(probabilities)
    assert moved[0, 0] == pytest.approx([1 / 3, 0, 0, 0, 0, 2 / 3])
    assert moved[0, 1] == pytest.approx([1, 0, 0, 0, 0, 0])


def test_a_letter_gives_its_probability_to_its_other_case() -> None:
    charset = Charset("abc", tuple("abAB1"))
    lower = restrict(charset, Charset("lower", ("a", "b")))
    moved = lower.apply(np.array([[[0.1, 0.1, 0.2, 0.5, 0.0, 0.1]]], np.float32))
    assert moved[0, 0] == pytest.approx([0.1 / 0.9, 0.6 / 0.9, 0.2 / 0.9, 0, 0, 0])


def test_the_whole_charset_changes_nothing() -> None:
    charset = resolve_charset("94")
    probabilities = np.random.default_rng(0).dirichlet(np.ones(95), (2, 3)).astype(np.float32)
    moved = restrict(charset, charset).apply(probabilities)
    assert np.abs(moved - probabilities).max() < 1e-6


def test_positions_without_an_allowed_character_are_no_division_by_zero() -> None:
    digits = restrict(Charset("ab", ("a", "1")), Charset("digits", ("1",)))
    assert digits.apply(np.array([[[0.0, 1.0, 0.0]]], np.float32)).tolist() == [[[0, 0, 0]]]


def test_a_charset_that_the_model_does_not_read_is_refused() -> None:
    with pytest.raises(UserError, match="reads none of its characters"):
        restrict(resolve_charset("36"), Charset("greek", ("α", "β")))


def test_the_best_path_is_the_one_that_the_network_takes() -> None:
    rng = np.random.default_rng(0)
    paths = rng.dirichlet(np.full(4, 0.3), (200, 9)).astype(np.float32)
    paths[:20, :, 0] = 0  # no blank
    paths[20:25, :, 1:] = 0  # nothing else
    paths /= paths.sum(-1, keepdims=True)
    for length in 1, 3, 9:
        expected = ctc.collapse(torch.from_numpy(paths).log(), length).softmax(-1).numpy()
        assert np.abs(collapse(paths, length) - expected).max() < 1e-6


@pytest.mark.parametrize("card", [{}, WordConfidence(of_paths=True).to_card()], ids=["product", "sum over paths"])
def test_a_character_that_may_not_be_read_does_not_end_the_word_of_a_path(card: dict[str, Any]) -> None:
    charset = Charset("few", tuple("12-$"))
    path = np.full((1, 8, 5), 0.01, np.float32)
    for place, symbol in enumerate([4, 0, 1, 1, 3, 2, 0, 3]):  # $_11-2_-
        path[0, place, symbol] = 0.96
    backend: Any = SimpleNamespace(
        searches="paths", temperature=1.0, tokenizer=Tokenizer(charset, 6), card=card, paths=lambda crops: path,
        probabilities=lambda crops: collapse(path, 7), probabilities_and_paths=lambda crops: (collapse(path, 7), path),
    )  # fmt: skip
    crops = np.zeros((1, 8, 8, 3), np.uint8)
    (free,) = make_decoding(backend, "any").predict(backend, crops)
    (digits,) = make_decoding(backend, "any", charset="10").predict(backend, crops)
    (searched,) = make_decoding(backend, "any", charset="10", pattern="[12]+").predict(backend, crops)
    assert (free.text, digits.text, searched.text) == ("$1-2-", "12", "12")
    assert digits.confidence == pytest.approx(searched.confidence)


def _rows(*places: dict[str, float]) -> np.ndarray:
    """Probabilities by character over "a", "A", "1", "-", "$", and the end as ""; what is not named shares the rest."""
    rows = np.zeros((1, len(places), 6), np.float32)
    for row, place in zip(rows[0], places, strict=True):
        row[:] = (1 - sum(place.values())) / (6 - len(place))
        for character, chance in place.items():
            row["aA1-$".find(character) + 1 if character else 0] = chance
    return rows


FEW = Charset("few", tuple("aA1-$"))
END = {"": 0.999}


def _positions(rows: np.ndarray, searches: str = "positions") -> Any:
    return SimpleNamespace(
        searches=searches, temperature=1.0, tokenizer=Tokenizer(FEW, 6), card={}, probabilities=lambda crops: rows
    )


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([{"$": 0.99}, {"1": 0.98}, {"-": 0.995}, {"1": 0.98}, END], "11"),  # other characters are passed over
        ([{"$": 0.7, "1": 0.2}, {"1": 0.98}, END], "11"),  # one that may be another is read
        ([{"$": 0.99}, END], ""),
        ([{"1": 0.98}, END, {"1": 0.98}, END], "1"),  # rows behind the end mean nothing
        ([{"1": 0.98}, {"": 0.4, "1": 0.35}, {"1": 0.98}, END], "1"),
    ],
)
def test_a_character_that_may_not_be_read_does_not_end_a_word(places: list[dict[str, float]], expected: str) -> None:
    backend = _positions(_rows(*places))
    (read,) = make_decoding(backend, "any", charset="10").predict(backend, np.zeros((1, 8, 8, 3), np.uint8))
    assert read.text == expected and read.confidence > 0.35


def test_a_word_without_an_end_stays_cut_where_characters_are_passed_over() -> None:
    """Its confidence is that of what was read, and not that of an end that was never predicted."""
    for places, text, runaway in (("a11$a1a", "a11a1a", False), ("1$11111", "111111", True)):
        rows = _rows(*({character: 0.98} for character in places))
        backend = _positions(rows)
        (free,) = make_decoding(backend, "any").predict(backend, np.zeros((1, 8, 8, 3), np.uint8))
        (read,) = make_decoding(backend, "any", charset="36").predict(backend, np.zeros((1, 8, 8, 3), np.uint8))
        assert read.text == text and read.confidence > 0.9
        assert read.runaway == free.runaway == runaway
        assert read.notes == free.notes and bool(read.notes) == (not runaway)


def test_two_cases_together_do_not_outweigh_the_end(tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text("a")
    backend = _positions(_rows({"a": 0.98}, {"": 0.4, "a": 0.3, "A": 0.3}, *[{"A": 0.4}] * 4))
    small = make_decoding(backend, "any", charset=str(tmp_path / "small.txt"))
    (read,) = small.predict(backend, np.zeros((1, 8, 8, 3), np.uint8))
    assert read.text == "a" and read.confidence == pytest.approx(0.98 / 0.992 * 0.4, rel=0.02)


def test_a_decoder_that_took_a_character_for_another_one_reads_again() -> None:
    rows = np.concatenate(
        [
            _rows({"1": 0.98}, {"1": 0.98}, END),  # nothing to restrict
            _rows({"$": 0.99}, {"1": 0.98}, END),  # passed over
            _rows({"$": 0.7, "1": 0.2}, {"1": 0.98}, END),
        ]
    )
    searched = []

    def search(crops: np.ndarray, rules: Any, width: int) -> Hypotheses:
        searched.append(crops[:, 0, 0, 0].tolist())
        symbols = np.array([[[3, 0, 0]]])
        chances, score = np.array([[[0.5, 1, 1]]], np.float32), np.array([[-0.7]], np.float32)
        zero = np.zeros(1, np.float32)
        return Hypotheses(symbols, chances, score, np.array([[True]]), zero, zero - 9)

    backend = _positions(rows, "prefixes")
    backend.search = search
    crops = np.zeros((3, 8, 8, 3), np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    read = make_decoding(backend, "any", charset="10").predict(backend, crops)
    assert searched == [[2]] and [each.text for each in read] == ["11", "1", "1"]
    assert read[2].confidence == pytest.approx(0.5) and all(each.outside is None for each in read)


@pytest.mark.parametrize(("text", "digits"), [("$50", "50"), ("12-34", "1234"), ("12.50", "1250"), ("2024", "2024")])
@pytest.mark.parametrize("model", ["dptr-en", "dptr-latin"])
def test_only_the_digits_of_a_picture_are_read(model: str, text: str, digits: str) -> None:
    font = ImageFont.truetype(str(files("dptr").joinpath("synth/embedded/OpenSans.ttf")), 40)
    picture = Image.new("RGB", (round(font.getlength(text)) + 24, 64), "white")
    ImageDraw.Draw(picture).text((12, 4), text, "black", font)
    assert Reader(model, charset="10").read(picture).text == digits
