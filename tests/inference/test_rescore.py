from __future__ import annotations

import math
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import ctc_loss

from dptr.inference.confidence import UNCOUNTED, WordConfidence
from dptr.inference.ctc_search import compose_words, find_paths
from dptr.inference.decoding import Decoding, make_decoding
from dptr.inference.reader import Reader
from dptr.inference.rescore import BONUS, CERTAIN, CODE_SHARE, CODE_SYMBOLS, WEIGHT, Rescoring, find_readings, find_word
from dptr.text.automaton import Automaton
from dptr.text.charset import resolve_charset
from dptr.text.ngrams import fit_ngrams
from dptr.text.tokenizer import Tokenizer

LETTERS = resolve_charset("94")
TOKENIZER = Tokenizer(LETTERS, 25)
NGRAMS = fit_ngrams([("services", 200.0), ("public", 200.0), ("radio", 50.0)], 5, (0, 0, 0, 0, 0))
GOLDEN = Path(__file__).parents[1] / "golden"


def random_path(seed: int, positions: int, classes: int, evenness: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, evenness), positions)


def path_of(*choices: dict[str, float]) -> np.ndarray:
    """A path with these probabilities of characters at each position, each followed by a blank; "" is the blank."""
    rows = np.zeros((2 * len(choices), len(LETTERS) + 1))
    rows[1::2, 0] = 1.0
    for row, shares in zip(rows[::2], choices, strict=True):
        for character, share in shares.items():
            row[LETTERS.characters.index(character) + 1 if character else 0] = share
    return rows


def spell(word: str, place: int, other: str, share: float) -> np.ndarray:
    """``word``, where the character at ``place`` is ``other`` with probability 1 - ``share``."""
    return path_of(
        *({letter: share, other: 1 - share} if at == place else {letter: 1.0} for at, letter in enumerate(word))
    )


@pytest.mark.parametrize("seed", range(6))
def test_readings_have_the_sums_over_all_paths(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.inference.rescore._LEAST", -math.inf)
    monkeypatch.setattr("dptr.inference.rescore._MARGIN", math.inf)
    path = random_path(seed, 6, 4)
    sums: dict[tuple[int, ...], float] = {}
    for labels in product(range(4), repeat=6):
        word = tuple(label for label, _ in groupby(labels) if label)
        sums[word] = sums.get(word, 0.0) + math.prod(path[place, label] for place, label in enumerate(labels))
    expected = sorted(sums, key=lambda word: -sums[word])
    found = find_readings(path, len(sums))
    assert [word for word, _ in found] == expected
    assert np.allclose([math.exp(score) for _, score in found], [sums[word] for word in expected])
    best, score = find_readings(path, 16)[0]
    assert best == expected[0] and score <= math.log(sums[best]) + 1e-9


def test_the_score_is_that_of_the_ctc_loss() -> None:
    path = random_path(9, 20, 12, 0.1)
    logs = torch.from_numpy(np.log(path))[:, None]
    for symbols, score in find_readings(path, 200)[:5]:
        loss = ctc_loss(
            logs, torch.tensor([symbols]), torch.tensor([20]), torch.tensor([len(symbols)]), reduction="sum"
        )
        assert -loss.item() - 0.05 < score < -loss.item() + 1e-5  # paths of discarded prefixes are missing


def test_a_word_is_found_as_with_a_lexicon_of_it() -> None:
    path = random_path(3, 12, 8)
    automaton = Automaton(np.arange(3), np.array([2, 2, 5]), np.arange(1, 4), np.array([False, False, False, True]))
    assert find_word(path, (2, 2, 5)) == find_paths(path[None], compose_words(automaton))[0]
    assert find_word(path, (2, 2, 5)).symbols == (2, 2, 5)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (spell("Services", 1, "o", 0.3), "Services"),
        (spell("PUBLIC", 1, "V", 0.3), "PUBLIC"),
        (spell("radio,", 3, "l", 0.4), "radio,"),
        (spell("Services", 1, "o", 0.001), "Sorvices"),  # the picture outweighs the spelling
        (spell("X7Q4", 1, "1", 0.45), "X1Q4"),  # codes are as the network reads them
        (spell("24V_DI01", 3, "-", 0.45), "24V-DI01"),
        (spell("radio!", 5, ".", 0.45), "radio."),  # signs at the end of a word too
    ],
)
def test_of_two_readings_the_word_is_chosen(path: np.ndarray, expected: str) -> None:
    symbols = Rescoring(NGRAMS, TOKENIZER).choose(path).symbols
    assert "".join(LETTERS.characters[symbol - 1] for symbol in symbols) == expected


def test_text_from_right_to_left_is_scored_in_logical_order() -> None:
    hebrew = Tokenizer(resolve_charset("he"), 25, "rtl")
    ngrams = fit_ngrams([("שלום", 100.0)], 4, (0, 0, 0, 0))
    rows = np.zeros((8, len(hebrew.charset) + 1))
    rows[1::2, 0] = 1.0
    for row, share in zip(rows[::2], ({"ם": 0.4, "מ": 0.6}, {"ו": 1.0}, {"ל": 1.0}, {"ש": 1.0}), strict=True):
        for character, probability in share.items():
            row[hebrew.charset.index(character) + 1] = probability
    rescoring = Rescoring(ngrams, hebrew)
    assert rescoring.spell(rescoring.choose(rows).symbols) == "שלום"
    assert rescoring.spell(find_readings(rows)[0][0]) == "שלומ"


def test_the_score_of_spelling_is_that_of_its_definition() -> None:
    def score(word: str) -> float:
        code = CODE_SHARE * CODE_SYMBOLS ** -(len(word) + 1)
        own = math.exp(NGRAMS.log_probabilities([word])[0])
        return WEIGHT * math.log((1 - CODE_SHARE) * own + code)

    texts = ["public radio", "(Radio)", "--", "", "A1B2"]
    parts = [["public", "radio"], ["Radio"], [], [], ["A1B2"]]
    lengths = [12, 5, 0, 0, 4]
    expected = [sum(map(score, own)) + BONUS * n for own, n in zip(parts, lengths, strict=True)]
    assert np.allclose(Rescoring(NGRAMS, TOKENIZER).score(texts), expected)


class Network:
    """A CTC network that gives the same path for every crop."""

    searches, temperature, tokenizer, device = "paths", 1.0, TOKENIZER, "cpu"

    def __init__(self, path: np.ndarray, card: dict[str, Any]) -> None:
        self.path, self.card = path, card

    def probabilities_and_paths(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from dptr.inference.best_path import collapse

        paths = np.repeat(self.path[None], len(crops), 0)
        return collapse(paths, 26), paths

    def paths(self, crops: np.ndarray) -> np.ndarray:
        return self.probabilities_and_paths(crops)[1]

    def probabilities(self, crops: np.ndarray) -> np.ndarray:
        return self.probabilities_and_paths(crops)[0]


@pytest.mark.parametrize("calibration", [None, WordConfidence(1.5, "", 0.5, True)])
def test_doubtful_readings_change_with_all_that_belongs_to_them(calibration: WordConfidence | None) -> None:
    network = Network(spell("Services", 1, "o", 0.3), calibration.to_card() if calibration else {})
    rescoring = Rescoring(NGRAMS, TOKENIZER)

    def predict(decoding: Decoding) -> Any:
        first, second = decoding.predict(network, np.zeros((2, 32, 64, 3), np.uint8))  # type: ignore[arg-type]
        assert first == second
        return first

    before = predict(make_decoding(network, "network"))  # type: ignore[arg-type]
    after = predict(make_decoding(network, "network", rescoring=rescoring))  # type: ignore[arg-type]
    assert (before.text, after.text) == ("Sorvices", "Services")
    assert before.product == pytest.approx(0.7) and after.product == pytest.approx(0.3)
    assert after.characters[1] == ("e", pytest.approx(0.3)) and after.outside is None and not after.notes
    ratio = 0.3 / 0.7 * math.exp(float(np.subtract(*rescoring.score(["Services", "Sorvices"]))))
    assert after.confidence == pytest.approx(calibration.scale(ratio / (1 + ratio), 8) if calibration else 0.3)
    digits = make_decoding(network, "network", charset="94", rescoring=rescoring)  # type: ignore[arg-type]
    assert predict(digits).text == "Sorvices"


def test_readings_that_count_as_equal_share_their_probability() -> None:
    path = path_of({"R": 0.5, "r": 0.3, "b": 0.2}, {"a": 1.0}, {"d": 1.0}, {"i": 1.0}, {"o": 1.0}, {",": 0.6, "": 0.4})
    rescoring = Rescoring(NGRAMS, TOKENIZER)
    counted_as = "".join(each.lower() if each.isalnum() else UNCOUNTED for each in LETTERS.characters)
    whole = rescoring.choose(path, WordConfidence(counted_as=counted_as).fold)
    case = rescoring.choose(path, WordConfidence().fold)
    assert whole.symbols == case.symbols == rescoring.choose(path).symbols
    less, more = rescoring.score(["badio", "radio"])
    wrong = 0.2 * math.exp(less) / (0.2 * math.exp(less) + 0.8 * math.exp(more))
    assert whole.probability == pytest.approx(1 - wrong)
    assert case.probability == pytest.approx((1 - wrong) * 0.5 / 0.8 * 0.6)


def test_certain_readings_stay() -> None:
    network = Network(spell("Sorvices", 1, "e", CERTAIN), {})
    decoding = make_decoding(network, "network", rescoring=Rescoring(NGRAMS, TOKENIZER))  # type: ignore[arg-type]
    assert decoding.predict(network, np.zeros((1, 32, 64, 3), np.uint8))[0].text == "Sorvices"  # type: ignore[arg-type]


def test_longer_readings_than_the_network_writes_are_not_chosen() -> None:
    short = Tokenizer(LETTERS, 7)
    network = Network(spell("Services", 1, "o", 0.3), {})
    network.tokenizer = short  # type: ignore[misc]
    decoding = make_decoding(network, "network", rescoring=Rescoring(NGRAMS, TOKENIZER))  # type: ignore[arg-type]
    assert len(decoding.predict(network, np.zeros((1, 32, 64, 3), np.uint8))[0].text) <= 8  # type: ignore[arg-type]


def test_readers_rescore_unless_they_are_asked_not_to() -> None:
    def rescores(**options: Any) -> bool:
        return Reader("dptr-latin", **options)._decoding.rescoring is not None

    assert rescores()
    assert not rescores(rescore=False)
    assert not any(rescores(**each) for each in ({"charset": "62"}, {"pattern": "date"}, {"lexicon": ("one", "two")}))
    assert Reader("dptr-en-tiny")._decoding.rescoring is None
    assert "rescore=False" in repr(Reader("dptr-latin", rescore=False))
