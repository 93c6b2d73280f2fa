"""Models that write from left to right read Hebrew and Arabic in the order of reading, in torch and in files."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from helpers_export import unchecked
from helpers_reference import loud

from dptr.config.model import DecoderConfig, FMUConfig, ModelConfig, SVTRConfig
from dptr.export import export
from dptr.inference.backend import open_backend
from dptr.inference.constraint import make_constraint
from dptr.inference.decoding import make_decoding
from dptr.inference.onnx_backend import METADATA, OnnxModel, seal
from dptr.inference.reader import Reader
from dptr.models.checkpoint import save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import Charset
from dptr.text.direction import to_logical, to_visual
from dptr.text.tokenizer import Tokenizer, Visual
from dptr.utils.errors import UserError

CHARSET = Charset("signs", tuple("אבג12()"))
SUMS = {"confidence": {"exponent": 1.0, "counted_as": "", "length": 0.0, "of_paths": True}}


@dataclass
class Written:
    """A backend whose network writes these characters, one a place with a blank behind it, the surer the later."""

    text: str
    visual: Visual = "rtl"
    searches: str = "paths"
    temperature: float = 1.0
    device: str = "cpu"
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokenizer = Tokenizer(CHARSET, 6, visual=self.visual)

    def paths(self, crops: np.ndarray) -> np.ndarray:
        rows = np.full((len(crops), 2 * len(self.text), len(CHARSET) + 1), 0.01)
        for place, character in enumerate(self.text):
            rows[:, 2 * place, 1 + CHARSET.index(character)] = 0.5 + 0.05 * place
            rows[:, 2 * place + 1, 0] = 0.9
        return (rows / rows.sum(2, keepdims=True)).astype(np.float32)

    def probabilities(self, crops: np.ndarray) -> np.ndarray:
        rows = self.paths(crops)
        return np.concatenate((rows[:, 0::2], rows[:, 1:2]), axis=1)

    def probabilities_and_paths(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.probabilities(crops), self.paths(crops)


CROPS = np.zeros((1, 4, 8, 3), np.uint8)


@pytest.mark.parametrize("words", [None, ["אב12ג", "גגג"]], ids=["any word", "a lexicon"])
@pytest.mark.parametrize("card", [{}, SUMS], ids=["products", "sums over paths"])
def test_what_stands_on_the_left_is_read_last(words: list[str] | None, card: dict[str, Any]) -> None:
    """The probability of each character goes with it; that of the word is what it is from left to right."""
    backend, plain = Written("ג12בא", card=card), Written("ג12בא", visual="", card=card)
    shown = words and [to_visual(word) for word in words]
    (read,) = make_decoding(backend, "any", lexicon=words).predict(backend, CROPS)
    (raw,) = make_decoding(plain, "any", lexicon=shown).predict(plain, CROPS)
    assert (read.text, raw.text) == ("אב12ג", "ג12בא")
    assert [character for character, _ in read.characters] == list(read.text)
    assert dict(read.characters) == dict(raw.characters) and len({*dict(raw.characters).values()}) == 5
    assert (read.confidence, read.outside) == (raw.confidence, raw.outside)


def test_brackets_are_read_as_they_open() -> None:
    backend = Written("(1)בא")
    (read,) = make_decoding(backend, "any").predict(backend, CROPS)
    assert read.text == "אב(1)"


def test_a_bracket_that_may_be_read_is_written_as_it_is_seen(tmp_path: Path) -> None:
    backend, allowed = Written("(בא"), tmp_path / "allowed.txt"
    allowed.write_text("אב)", encoding="utf-8")
    (read,) = make_decoding(backend, "any", charset=str(allowed)).predict(backend, CROPS)
    assert read.text == "אב)"
    (listed,) = make_decoding(backend, "any", charset=str(allowed), lexicon=["אב)", "ב"]).predict(backend, CROPS)
    assert listed.text == "אב)"


def test_what_repeats_where_the_model_stopped_is_a_runaway() -> None:
    """It is what one reads first, where text runs from right to left."""
    for written, text, runs_away in (("אבגגגג", "גגגגבא", True), ("גגגגבא", "אבגגגג", False)):
        backend = Written(written)
        rows = np.eye(len(CHARSET) + 1, dtype=np.float32)[[[1 + CHARSET.index(each) for each in written]]]
        backend.probabilities = lambda crops, rows=rows: rows  # type: ignore[method-assign]
        (read,) = make_decoding(backend, "any").predict(backend, CROPS)
        assert (read.text, read.runaway) == (text, runs_away)


def test_patterns_of_letters_that_run_left_are_refused() -> None:
    backend = Written("בא")
    with pytest.raises(UserError, match=r"right to left, such as 'א' .*, and this model.*--lexicon"):
        make_decoding(backend, "any", pattern="[אב]{2}")
    (digits,) = make_decoding(backend, "any", pattern="[12]{2}").predict(backend, CROPS)
    assert len(digits.text) == 2
    (both,) = make_decoding(backend, "any", pattern="[אב]{2}", lexicon=["אב", "אבג"]).predict(backend, CROPS)
    assert both.text == "אב"
    assert make_constraint(CHARSET, 6, "[אב]{2}").automaton.accepts([1, 2]), "models that write as one reads take it"


@pytest.mark.parametrize("pattern", ["[٠-٩]+", r"\d+", "[٠-٩]/[٠-٩]", "[٠-٩]+٫[٠-٩]{2}", "[0-9]+-[0-9]%?"])
def test_numbers_that_stand_as_they_are_read_may_be_asked_for(pattern: str) -> None:
    charset = Charset("numbers", tuple("0123456789٠١٢٣٤٥٦٧٨٩/-%٫"))
    automaton = make_constraint(charset, 6, pattern, write=to_visual).automaton
    draw, words = random.Random(1), 0
    for _ in range(20_000):
        word = "".join(draw.choices("12٣٤/-%٫", k=draw.randint(1, 5)))
        if automaton.accepts([1 + charset.index(each) for each in word]):
            words += 1
            assert to_visual(word) == word
    assert words > 10


@pytest.mark.parametrize("pattern", [r"\d{2}-\d{2}", "[٠-٩]+%", "-?[٠-٩]+", "[٠-٩/]+", r"\d+/\d+", "[٠-٩]+/[0-9]"])
def test_numbers_that_stand_otherwise_are_refused(pattern: str) -> None:
    """``١٢-٣٤`` stands as ``٣٤-١٢``: its pattern was searched in what stands there, and the text did not match it."""
    charset = Charset("numbers", tuple("0123456789٠١٢٣٤٥٦٧٨٩/-%٫"))
    with pytest.raises(UserError, match=r"matches Arabic digits and '[-%/]'.*--lexicon"):
        make_constraint(charset, 6, pattern, write=to_visual)
    assert make_constraint(charset, 6, pattern).automaton.accepting.any(), "models that write as one reads take it"


def test_a_file_reads_what_its_folder_reads(tmp_path: Path) -> None:
    decoder = DecoderConfig.of(kind="ctc", path="tokens", dim=128)
    encoder = SVTRConfig(size="nano", height=16, width=32)
    config = ModelConfig(encoder=encoder, fmu=FMUConfig(queries=0, heads=2), decoder=decoder, max_length=6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = loud(build_recognizer(config, len(CHARSET)), 5, 0.3)
    save_checkpoint(tmp_path / "model", "recognizer", built, config, CHARSET, {}, {"name": "any"})
    crops = np.random.default_rng(3).integers(0, 256, (64, 16, 32, 3), dtype=np.uint8)
    expected = Reader(tmp_path / "model").predict_arrays(crops)
    with unchecked():
        export(tmp_path / "model", tmp_path / "any.onnx", count=16)
    found = Reader(tmp_path / "any.onnx").predict_arrays(crops)
    assert [each.text for each in found] == [each.text for each in expected]
    backend = open_backend(tmp_path / "model")
    written = Tokenizer(CHARSET, 6).decode(backend.probabilities(crops))
    assert [to_logical(each.text) for each in written] == [each.text for each in expected]
    assert sum(each.text != word.text for each, word in zip(written, expected, strict=True)) > 9

    graph = onnx.load(tmp_path / "any.onnx")
    (entry,) = (each for each in graph.metadata_props if each.key == METADATA)
    assert '"visual": "rtl"' in entry.value
    entry.value = entry.value.replace('"visual": "rtl"', '"visual": "up"')
    (tmp_path / "other.onnx").write_bytes(seal(graph.SerializeToString()))
    with pytest.raises(UserError, match="visual"):
        OnnxModel(tmp_path / "other.onnx")
