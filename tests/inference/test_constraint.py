"""Nothing but what is expected is read, by all decoders; and what cannot be read is refused."""

from __future__ import annotations

import pickle
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_reference import loud
from hypothesis import given, settings
from hypothesis import strategies as st

from dptr.config.model import DecoderConfig, FMUConfig, ModelConfig, SVTRConfig
from dptr.inference.confidence import UNCOUNTED, WordConfidence, apply_temperature
from dptr.inference.constraint import make_constraint
from dptr.inference.decoding import make_decoding
from dptr.inference.reader import Reader
from dptr.models.checkpoint import load_recognizer, save_checkpoint
from dptr.models.decoders import DECODERS
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import Charset, resolve_charset
from dptr.utils.errors import UserError

CHARSET = Charset("few", tuple("abAB1-"))
OWN = {"parseq at once": {"refinements": 1, "autoregressive": False}, "ctc over tokens": {"path": "tokens"}}
KINDS = {**{kind: {} for kind in DECODERS}, **OWN}
DIM = 128  # of the tokens of svtr nano
PATTERNS = st.sampled_from(
    ["[AB]{2}-1", "a|b|ab", "1+", "[^1]{2,4}", "-?1{1,3}(-1)?", "(ab|BA)*1", "[A-B]{4}", ".{3}", "(a|b)*", "b{4}|A"]
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    """A folder with a recognizer of random weights, by the kind of its decoder."""

    @cache
    def made(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("model") / "any"
        dim, queries = (DIM, 0) if kind == "ctc over tokens" else (16, 9)
        decoder = DecoderConfig.of(kind=kind.partition(" ")[0], dim=dim, depth=1, heads=2, **KINDS[kind])
        encoder, fmu = SVTRConfig(size="nano", height=16, width=32), FMUConfig(queries=queries, heads=2)
        config = ModelConfig(encoder=encoder, fmu=fmu, decoder=decoder, max_length=4)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            built = loud(build_recognizer(config, len(CHARSET)), 5, 0.3)
        save_checkpoint(folder, "recognizer", built, config, CHARSET, {}, {"name": "any"}, temperature=1.5)
        return folder

    return made


def test_a_path_too_short_for_a_word_ends_in_blanks() -> None:
    """Three tokens spell no word of four letters: one is returned all the same, which is as good as impossible."""
    rows = np.random.default_rng(0).dirichlet(np.ones(7), (2, 3)).astype(np.float32)
    backend = SimpleNamespace(searches="paths", temperature=1.0, paths=lambda crops: rows[: len(crops)])
    for found in make_constraint(CHARSET, 4, "[ab]{4}").read(backend, crops(2)):
        assert len(found.symbols) == 4 and found.outside > 0.999
    (short,) = make_constraint(CHARSET, 4, "[ab]").read(backend, crops(1))
    assert short.outside < 0.999


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 16, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(pattern=PATTERNS, batch=st.integers(1, 5), seed=st.integers(0, 9))
def test_nothing_outside_a_pattern_is_read(kind: str, model, pattern: str, batch: int, seed: int) -> None:
    pictures = np.random.default_rng(seed).integers(0, 256, (5, 16, 32, 3), dtype=np.uint8)
    reader = Reader(model(kind), batch_size=batch, pattern=pattern)
    predictions = reader.predict_arrays(pictures)
    for prediction in predictions:
        assert re.fullmatch(pattern, prediction.text) and len(prediction.text) <= 4
        assert prediction.outside is not None and 0 <= prediction.outside <= 1 and 0 <= prediction.confidence <= 1
        assert "".join(character for character, _ in prediction.characters) == prediction.text
        assert not prediction.runaway
    alone = Reader(model(kind), batch_size=1, pattern=pattern).predict_arrays(pictures)
    for one, other in zip(predictions, alone, strict=True):
        assert one.text == other.text and one.outside == pytest.approx(other.outside, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_outside_a_lexicon_is_read(kind: str, model) -> None:
    words = ("ab", "1-1", "B", "bbAA")
    read = {each.text for each in Reader(model(kind), lexicon=words).predict_arrays(crops(20))}
    assert read <= set(words)
    both = {each.text for each in Reader(model(kind), lexicon=words, pattern="[a-z]+|B").predict_arrays(crops(20))}
    assert both <= {"ab", "B"}
    folded = Reader(model(kind), lexicon=["1b", "11"], charset="36").predict_arrays(crops(20))
    assert {each.text for each in folded} <= {"1b", "11"}


def test_letters_of_one_case_take_the_other(model) -> None:
    matrix = make_constraint(CHARSET, 4, "A[AB]1").restriction
    moved = matrix.apply(np.array([0.1, 0.2, 0.1, 0.3, 0.1, 0.1, 0.1], np.float32))
    assert moved == pytest.approx([0.1, 0, 0, 0.5, 0.2, 0.1, 0.1])
    both = make_constraint(CHARSET, 4, "a[AB]1").restriction  # b alone has no use
    moved = both.apply(np.array([0.1, 0.2, 0.1, 0.3, 0.1, 0.1, 0.1], np.float32))
    assert moved == pytest.approx([0.1, 0.2, 0, 0.3, 0.2, 0.1, 0.1])


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"pattern": "(a"}, r"pattern '\(a': at position 1"),
        ({"pattern": "€"}, "matches no word over the 6 characters of charset 'few', which lacks '€'"),
        ({"pattern": "b{5,}"}, "its shortest words have 5 characters, the model reads 4 at most"),
        ({"pattern": "iban"}, "pattern 'iban': matches no word|shortest words"),
        ({"pattern": "A", "charset": "10"}, "over the 1 characters of charset '10', which lacks 'A'"),
        ({"lexicon": ()}, "lexicon: no words; pass at least one"),
        ({"lexicon": ["ab", "äb"]}, "lexicon: 'ä'"),
        ({"lexicon": ["abbab"]}, "lexicon: 'abbab' has 5 characters, the model reads 4 at most"),
        ({"lexicon": ["ab"], "pattern": "1*"}, r"lexicon: none of its 1 words matches the pattern '1\*'"),
        ({"lexicon": "missing.txt"}, "lexicon missing.txt: No such file"),
    ],
)
def test_what_cannot_be_read_is_refused(model, settings_: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Reader(model("abinet"), **settings_)
    assert "\n" not in str(error.value)


def test_a_reader_travels_with_what_it_expects(model, tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("ab\n1-1\n")
    for settings_, shown in (
        ({"pattern": "a|b"}, "pattern='a|b'"),
        ({"lexicon": iter(["ab", "1"])}, "lexicon=(2 words)"),
        ({"lexicon": file}, f"lexicon='{file}'"),
    ):
        reader = Reader(model("parseq"), **settings_)
        assert shown in repr(reader)
        copy = pickle.loads(pickle.dumps(reader))
        assert copy.predict_arrays(crops(3)) == reader.predict_arrays(crops(3))


def test_predictions_say_what_lies_outside_only_where_something_is_expected(model) -> None:
    (free,) = Reader(model("ctc")).predict_arrays(crops(1))
    (expected,) = Reader(model("ctc"), pattern="a*").predict_arrays(crops(1))
    assert "outside" not in free.to_dict() and free.outside is None and free.fits
    assert expected.to_dict()["outside"] == pytest.approx(expected.outside, rel=1e-5)
    assert expected.fits == (expected.outside <= 0.9)


def test_large_lists_are_compiled_in_seconds() -> None:
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(3, 10))) for _ in range(20_000)]
    constraint = make_constraint(resolve_charset("94"), 25, lexicon=words)
    assert constraint.rules.next.shape[1] == 95 and len(constraint.trellis) == 10


@pytest.mark.parametrize("kind", ["ctc", "ctc over tokens"])
@pytest.mark.parametrize("only", [{}, {"charset": "1AB"}, {"pattern": "[AB]{1,3}"}, {"lexicon": ["A1", "B"]}], ids=str)
def test_a_confidence_of_paths_sums_those_of_the_word_that_was_read(
    kind: str, only: dict[str, Any], model, tmp_path: Path
) -> None:
    """Of the probabilities that are left of what may be read, at the model's temperature."""
    loaded, own = load_recognizer(model(kind)), WordConfidence(1.5, "abab1" + UNCOUNTED, 0.4, True)
    if "charset" in only:
        (tmp_path / "few.txt").write_text("\n".join(only["charset"]))
        only = {"charset": str(tmp_path / "few.txt")}
    save_checkpoint(
        tmp_path / "own", "recognizer", loaded.model, loaded.config, CHARSET, {}, own.to_card(), temperature=1.5
    )
    for batch in 1, 6:
        reader = Reader(tmp_path / "own", batch_size=batch, **only)
        paths = apply_temperature(reader.backend.paths(crops(6)), 1.5)
        decoding = make_decoding(reader.backend, "own", **only)
        if restriction := decoding.constraint.restriction if decoding.constraint else decoding.restriction:
            paths = restriction.apply(paths)
        read = reader.predict_arrays(crops(6))
        words = [[1 + CHARSET.index(character) for character in each.text] for each in read]
        shares = own.path_probabilities(paths, words).tolist()
        expected = [own.scale(share, len(word)) for share, word in zip(shares, words, strict=True)]
        assert [each.confidence for each in read] == pytest.approx(expected, rel=1e-4)
        assert all(each.product != pytest.approx(each.confidence) for each in read if each.text)


def test_a_card_with_sums_over_paths_is_refused_where_there_are_none(model, tmp_path: Path) -> None:
    loaded, card = load_recognizer(model("parseq")), WordConfidence(of_paths=True).to_card()
    save_checkpoint(tmp_path / "odd", "recognizer", loaded.model, loaded.config, CHARSET, {}, card)
    with pytest.raises(UserError, match="sums over paths, and it is no CTC network"):
        Reader(tmp_path / "odd")
