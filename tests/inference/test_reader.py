from __future__ import annotations

import copy
import inspect
import io
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dptr
from dptr.config.model import FMUConfig, ModelConfig, PARSeqConfig, SVTRConfig
from dptr.data.augment import to_pixels
from dptr.inference.confidence import UNCOUNTED, WordConfidence
from dptr.inference.prediction import Prediction, has_repeated_ending
from dptr.inference.reader import Reader
from dptr.models.checkpoint import load_recognizer, save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import resolve_charset
from dptr.utils.errors import UserError
from dptr.utils.sizes import CropSizes

CONFIG = ModelConfig(
    encoder=SVTRConfig(size="nano", height=16, width=32),
    fmu=FMUConfig(queries=6, heads=2),
    decoder=PARSeqConfig(dim=16, depth=1, heads=2),
    charset="36",
    max_length=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recognizer with random weights, large enough that words differ from crop to crop."""
    path = tmp_path_factory.mktemp("model") / "tiny"
    charset = resolve_charset("36")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build_recognizer(CONFIG, len(charset))
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    save_checkpoint(path, "recognizer", model, CONFIG, charset, {}, {"name": "tiny"})
    return path


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return Reader(folder, batch_size=4)


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 16, 32, 3), dtype=np.uint8)


def same(a: Prediction, b: Prediction) -> bool:
    probabilities = [p for _, p in a.characters], [p for _, p in b.characters]
    return (
        a.text == b.text
        and a.confidence == pytest.approx(b.confidence, rel=1e-4)
        and np.allclose(*probabilities, rtol=1e-4)
    )


def test_every_kind_of_source_reads_the_same(reader: Reader, tmp_path: Path) -> None:
    array = crops(1)[0]
    image = Image.fromarray(array)
    image.save(tmp_path / "crop.png")
    file = io.BytesIO()
    image.save(file, "PNG")
    expected = reader.predict_arrays(array[None])[0]
    for source in (array, image, file.getvalue(), tmp_path / "crop.png", str(tmp_path / "crop.png")):
        assert same(reader.read(source), expected)
    for several in ([array, image], (image, array), np.stack([array, array])):
        predictions = reader.read(several)
        assert isinstance(predictions, list)
        assert len(predictions) == 2 and all(same(prediction, expected) for prediction in predictions)
    assert reader.read([]) == []


def test_any_iterable_of_pictures_is_read_as_a_list(reader: Reader, tmp_path: Path) -> None:
    batch = crops(6)
    expected = reader.predict_arrays(batch)
    paths = [tmp_path / f"{index}.png" for index in range(6)]
    for crop, path in zip(batch, paths, strict=True):
        Image.fromarray(crop).save(path)
    several = (batch, (crop for crop in batch), iter(paths), map(str, paths), dict.fromkeys(paths), set(paths[:1]))
    for sources in several:
        read = reader.read(sources)
        assert isinstance(read, list) and len(read) in (6, 1)
        assert all(same(*pair) for pair in zip(read, expected, strict=False))
    assert reader.read(iter(())) == []


def test_an_open_file_is_one_picture(reader: Reader, tmp_path: Path) -> None:
    crop = crops(1)[0]
    Image.fromarray(crop).save(tmp_path / "crop.png")
    expected = reader.read(crop)
    with (tmp_path / "crop.png").open("rb") as file:
        assert same(reader.read(file), expected)
        file.seek(0)
        several = reader.read([file, io.BytesIO((tmp_path / "crop.png").read_bytes())])
    assert all(same(prediction, expected) for prediction in several)


def test_errors_are_returned_in_place_where_asked(reader: Reader) -> None:
    batch = crops(5)
    sources = [*batch[:3], b"not a picture", *batch[3:], None]
    outcomes = reader.read(sources, errors="return")
    wanted = 3 * [Prediction] + [UserError] + 2 * [Prediction] + [UserError]
    assert all(isinstance(outcome, kind) for outcome, kind in zip(outcomes, wanted, strict=True))
    assert all(same(*pair) for pair in zip([*outcomes[:3], *outcomes[4:6]], reader.predict_arrays(batch), strict=True))
    assert isinstance(reader.read("missing.png", errors="return"), UserError)
    assert same(reader.read(batch[0], errors="return"), outcomes[0])
    for source in (b"", None, 7):
        with pytest.raises(UserError):
            reader.read(source)
    with pytest.raises(UserError, match="errors 'ignore': pass 'raise' or 'return'"):
        reader.read(batch, errors="ignore")


def test_a_stream_of_one_picture_is_refused(reader: Reader, tmp_path: Path) -> None:
    for source in (str(tmp_path / "crop.png"), b"bytes", crops(1)[0], 7):
        with pytest.raises(UserError, match=r"one picture; pass an iterable of pictures, or use Reader\.read"):
            reader.stream(source)


def test_a_reader_is_a_function(reader: Reader) -> None:
    batch = crops(3)
    assert all(same(reader(crop), word) for crop, word in zip(batch, reader(list(batch)), strict=True))
    assert isinstance(reader([b""], errors="return")[0], UserError)


def test_repr_names_the_model_and_what_is_set(folder: Path) -> None:
    assert repr(Reader("dptr-en-tiny")) == "Reader('dptr-en-tiny', device='cpu', batch_size=64)"
    text = repr(Reader(folder, batch_size=2, turn=False, tta=3))
    assert text == f"Reader('{folder}', device='cpu', batch_size=2, turn=False, tta=3)"


def test_from_pretrained_is_another_name(folder: Path) -> None:
    own, other = (inspect.signature(each).parameters for each in (Reader.__init__, Reader.from_pretrained))
    assert [each.default for each in list(own.values())[1:-1]] == [each.default for each in other.values()]
    reader = Reader.from_pretrained(folder, device="cpu", batch_size=3, turn=False, tta=2)
    assert (reader.name, reader.device, reader.batch_size, reader.turn, reader.tta) == (str(folder), "cpu", 3, False, 2)
    assert Reader.from_pretrained().name == dptr.DEFAULT_MODEL
    assert type(type("Mine", (Reader,), {}).from_pretrained(folder)).__name__ == "Mine"
    with pytest.raises(TypeError, match="revision"):
        Reader.from_pretrained(folder, revision="main")


def test_a_reader_travels_as_its_name_and_settings(folder: Path) -> None:
    reader = Reader(folder, batch_size=3, turn=False, tta=2)
    data = pickle.dumps(reader)
    assert len(data) < 1000
    other, third = pickle.loads(data), pickle.loads(data)
    assert repr(other) == repr(reader) and other.backend is not reader.backend
    assert third is not other and third.backend is other.backend, "a pool would open the model for each task"
    assert same(other.read(crops(1)[0]), reader.read(crops(1)[0]))


def test_a_pool_of_spawned_processes_reads(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for crop, path in zip(crops(4), paths, strict=True):
        Image.fromarray(crop).save(path)
    reader = Reader("dptr-en-tiny")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        read = list(pool.map(reader, paths))
    assert all(same(*pair) for pair in zip(read, reader.read(paths), strict=True))


def test_a_whole_photograph_is_read_with_a_note(reader: Reader) -> None:
    planted = copy.copy(reader)
    planted.backend = ByLight(reader, {"top": ("no", 0.6), "bottom": ("on", 0.6)})
    photograph, crop = lit_from_above(300, 400), lit_from_above(60, 80)
    read = planted.read([crop, photograph, b"", crop], errors="return")
    assert [bool(each.notes) for each in read if isinstance(each, Prediction)] == [False, True, False]
    assert "400x300" in read[1].notes[0]
    planted.backend = ByLight(reader, {"top": ("no", 0.9)})
    assert planted.read(photograph).notes == ()


def test_prediction_is_the_greedy_word_of_the_models_probabilities(reader: Reader) -> None:
    batch = crops(8)
    with torch.no_grad():
        pixels = torch.tensor(batch.transpose(0, 3, 1, 2) / 127.5 - 1, dtype=torch.float32)
        probabilities = torch.softmax(reader.backend.model(pixels), -1).double().numpy()
    words = set()
    for prediction, rows in zip(reader.predict_arrays(batch), probabilities, strict=True):
        text, confidence = "", 1.0
        for row in rows:
            confidence *= row.max()
            if row.argmax() == 0:
                break
            assert prediction.characters[len(text)][1] == pytest.approx(row.max(), rel=1e-3)
            text += "0123456789abcdefghijklmnopqrstuvwxyz"[row.argmax() - 1]
        assert prediction.text == text == "".join(char for char, _ in prediction.characters)
        assert prediction.confidence == pytest.approx(confidence, rel=1e-3)
        words.add(text)
    assert len(words) > 1, "the random model reads one word only: this test would not see a mix-up"


def test_alone_or_in_a_batch_of_any_size_a_crop_reads_the_same(folder: Path, reader: Reader) -> None:
    batch = crops(9)
    together = Reader(folder, batch_size=9).predict_arrays(batch)
    assert all(same(a, b) for a, b in zip(together, reader.predict_arrays(batch), strict=True))
    assert all(same(reader.read(crop), word) for crop, word in zip(batch, together, strict=True))
    assert all(same(a, b) for a, b in zip(reader.read(list(batch[::-1])), together[::-1], strict=True))


def test_stream_keeps_order_and_goes_on_after_an_unreadable_picture(reader: Reader) -> None:
    batch = crops(6)
    sources = [*batch[:2], b"not a picture", *batch[2:], "missing.png"]
    outcomes = list(reader.stream(sources))
    assert [isinstance(outcome, UserError) for outcome in outcomes] == [False] * 2 + [True] + [False] * 4 + [True]
    read = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
    assert all(same(a, b) for a, b in zip(read, reader.predict_arrays(batch), strict=True))
    assert [type(outcome) for outcome in reader.stream([b""] * 5)] == [UserError] * 5
    with pytest.raises(UserError, match=r"missing\.png"):
        reader.read(sources[3:])


def test_stream_yields_as_batches_finish(reader: Reader) -> None:
    taken = 0

    def sources() -> Iterator[np.ndarray]:
        nonlocal taken
        for crop in crops(12):
            taken += 1
            yield crop

    outcomes = reader.stream(sources())
    next(outcomes)
    assert taken == reader.batch_size == 4


def test_extreme_sizes_are_read(reader: Reader) -> None:
    for size in ((1, 1), (20_000, 10), (3, 5000)):
        assert isinstance(reader.read(Image.new("L", size, 128)), Prediction)


def test_random_state_threads_and_gradients_are_left_alone(reader: Reader) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()
    reader.read(crops(1)[0])
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert torch.is_grad_enabled() and not reader.backend.model.training
    assert all(parameter.grad is None for parameter in reader.backend.model.parameters())


def test_a_reading_that_repeats_itself_without_end_is_flagged(reader: Reader) -> None:
    """Planted probabilities of the longest words, 5 letters and no end, and of words that end."""
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"

    class Planted:
        tokenizer, card, temperature, size = reader.tokenizer, {}, 1.0, CropSizes(16, 32)

        def probabilities(self, crops: np.ndarray) -> np.ndarray:
            rows = np.zeros((len(words), 6, 37), np.float32)
            for row, word in zip(rows, words, strict=True):
                row[range(6), [letters.index(char) + 1 for char in word] + [0] * (6 - len(word))] = 1
            return rows

    words = ["aaaaaa", "0ababa", "ababab", "abcdef", "aaaaa", "ab1111", "aaa"]
    planted = copy.copy(reader)
    planted.backend, planted.batch_size = Planted(), 9
    read = planted.predict_arrays(np.zeros((len(words), 16, 32, 3), np.uint8))
    assert [prediction.text for prediction in read] == words
    assert [prediction.runaway for prediction in read] == [True, False, True, False, False, True, False]
    assert (
        has_repeated_ending("xabcdabcdabcd")
        and not has_repeated_ending("xabcdeabcdeabcde")
        and not has_repeated_ending("aa")
    )


class ByLight:
    """Reads by which side of a crop is bright: its word, each character with the same probability."""

    def __init__(self, reader: Reader, table: dict[str, tuple[str, float]]):
        self.tokenizer, self.card, self.temperature, self.table = reader.tokenizer, {}, 1.0, table
        self.size = CropSizes(16, 32)

    def probabilities(self, crops: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(crops), 6, 37), np.float32)
        letters = "0123456789abcdefghijklmnopqrstuvwxyz"
        for row, crop in zip(rows, crops.mean(-1), strict=True):
            sides = {"top": crop[:4], "bottom": crop[-4:], "left": crop[:, :4], "right": crop[:, -4:]}
            word, sure = self.table[max(sides, key=lambda side: sides[side].mean())]
            ends = [letters.index(char) + 1 for char in word] + [0] * (6 - len(word))
            row[range(6), ends] = sure
            row[range(6), [0 if end else 36 for end in ends]] = 1 - sure
        return rows


def lit_from_above(height: int, width: int) -> Image.Image:
    array = np.zeros((height, width, 3), np.uint8)
    array[: max(1, height // 4)] = 255
    return Image.fromarray(array)


def test_tall_pictures_are_read_turned_too_and_the_surest_reading_counts(reader: Reader) -> None:
    """A picture lit from above is lit from the right once turned by 90 degrees clockwise, by 270 from the left."""
    planted = copy.copy(reader)
    tall, square, wide = lit_from_above(80, 30), lit_from_above(36, 30), lit_from_above(30, 80)
    cases = [
        ({"top": ("no", 0.6), "right": ("down", 0.9), "left": ("up", 0.7)}, ("down", 90)),
        ({"top": ("no", 0.6), "right": ("down", 0.7), "left": ("up", 0.9)}, ("up", 270)),
        ({"top": ("i", 0.9), "right": ("down", 0.7), "left": ("up", 0.6)}, ("i", 0)),
        ({"top": ("i", 0.6), "right": ("1", 0.9), "left": ("u", 0.9)}, ("i", 0)),
        ({"top": ("up", 0.8), "right": ("up", 0.8), "left": ("up", 0.8)}, ("up", 0)),
        ({"top": ("i", 0.6), "right": ("aaaaaa", 0.99), "left": ("up", 0.5)}, ("i", 0)),
    ]
    for table, (text, turned) in cases:
        planted.backend = ByLight(reader, {"bottom": ("on", 0.6)} | table)
        upright = table["top"][0]
        read = planted.read([wide, tall, square, tall])
        assert [prediction.text for prediction in read] == [upright, text, upright, text]
        assert [prediction.turned for prediction in read] == [0, turned, 0, turned]
        planted.turn = False
        assert planted.read(tall).text == upright and len(planted.views(tall)) == 1
        planted.turn = True


def test_a_doubtful_picture_is_read_upside_down_and_that_counts_where_it_is_far_surer(reader: Reader) -> None:
    """A picture lit from above is lit from below upside down; 0.6 by character is 0.216 with the end of two."""
    planted = copy.copy(reader)
    tall, square, wide = lit_from_above(80, 30), lit_from_above(36, 30), lit_from_above(30, 80)
    cases = [
        (("no", 0.6), ("up", 0.95), ("up", 180)),
        (("no", 0.6), ("up", 0.85), ("no", 0)),  # surer by 0.4 only
        (("no", 0.9), ("up", 0.99), ("no", 0)),  # not doubtful
        (("no", 0.6), ("i", 0.99), ("no", 0)),  # one letter upside down may be any
        (("no", 0.6), ("aaaaaa", 0.99), ("no", 0)),
    ]
    for upright, below, expected in cases:
        planted.backend = ByLight(reader, {"top": upright, "bottom": below, "left": ("l", 0.1), "right": ("r", 0.1)})
        read = planted.read([wide, tall, square])
        assert [(each.text, each.turned) for each in read] == [expected, (upright[0], 0), expected]
        planted.turn = False
        assert planted.read(wide).text == upright[0]
        planted.turn = True


def test_of_a_picture_read_in_several_ways_the_surest_reading_counts(reader: Reader) -> None:
    """Inverted, the third way, a picture lit from above is lit from below; turned and inverted left is right."""
    planted = copy.copy(reader)
    tall, wide = lit_from_above(80, 30), lit_from_above(30, 80)
    table = {"top": ("no", 0.6), "bottom": ("yes", 0.8), "right": ("down", 0.5), "left": ("up", 0.9)}
    for tta, upright, turned in ((1, "no", 270), (2, "no", 270), (3, "yes", 90), (6, "yes", 90)):
        planted.tta, planted.backend = tta, ByLight(reader, table)
        assert (len(planted.views(wide)), len(planted.views(tall))) == (tta, 3 * tta)
        read = planted.read([wide, tall, wide])
        assert [(each.text, each.turned) for each in read] == [(upright, 0), ("up", turned), (upright, 0)]
        planted.turn = False
        assert planted.read(tall).text == upright
        planted.turn = True
    planted.backend = ByLight(reader, table | {"bottom": ("aaaaaa", 0.99)})  # repeats itself to the end
    assert planted.read(wide).text == "no"


def test_the_least_confidence_for_a_precision_is_that_of_the_card(reader: Reader) -> None:
    measured = copy.copy(reader)
    measured.card = {"thresholds": {"n": 500, "0.9": [0.3, 0.8], "0.99": [0.75, 0.4]}}
    assert measured.least_confidence(0.9) == 0.3
    assert measured.least_confidence(0.91) == measured.least_confidence(0.99) == 0.75
    with pytest.raises(UserError, match=r"precision 0.995: the highest .* is 0.99"):
        measured.least_confidence(0.995)
    with pytest.raises(UserError, match="its card names no confidence"):
        reader.least_confidence(0.9)


def test_confidence_is_calibrated_as_the_card_says(folder: Path, tmp_path: Path) -> None:
    """Texts, characters and what views are compared by stay; the confidence is that of what counts."""
    loaded, charset = load_recognizer(folder), resolve_charset("36")
    vowels = "".join("a" if each in "aeiou" else UNCOUNTED if each == "9" else each for each in charset.characters)
    card = {"name": "sure", **WordConfidence(1.7, vowels).to_card()}
    save_checkpoint(tmp_path / "sure", "recognizer", loaded.model, CONFIG, charset, {}, card)
    plain, sure = Reader(folder), Reader(tmp_path / "sure")
    rows = plain.backend.probabilities(crops(12))
    own = WordConfidence(1.7, vowels)
    changed = 0
    for before, after, word in zip(plain.predict_arrays(crops(12)), sure.predict_arrays(crops(12)), rows, strict=True):
        expected = own.product(word[: len(after.text) + 1]) ** 1.7
        assert after == replace(before, confidence=pytest.approx(expected), uncalibrated=before.confidence)
        assert after.product == before.product == before.confidence and "uncalibrated" not in after.to_dict()
        changed += expected != pytest.approx(before.confidence**1.7)
    assert changed > 2, "some words hold what counts as something else"
    tall = Image.fromarray(crops(1)[0]).resize((20, 60))
    assert (sure.read(tall).text, sure.read(tall).turned) == (plain.read(tall).text, plain.read(tall).turned)
    for settings in ({"pattern": "[a-z]{2,4}"}, {"lexicon": ["tea", "bus", "a1"]}):
        pairs = zip(
            *(Reader(path, **settings).predict_arrays(crops(6)) for path in (folder, tmp_path / "sure")), strict=True
        )
        for before, after in pairs:
            assert (after.text, after.outside, after.product) == (before.text, before.outside, before.confidence)
            assert after.confidence == pytest.approx(before.confidence**1.7)


def test_a_card_with_a_damaged_confidence_is_refused(folder: Path, tmp_path: Path) -> None:
    loaded = load_recognizer(folder)
    card = {"confidence": {"exponent": 1.0, "counted_as": "abc"}}
    save_checkpoint(tmp_path / "bad", "recognizer", loaded.model, CONFIG, resolve_charset("36"), {}, card)
    with pytest.raises(UserError, match="3 characters; the model has 36"):
        Reader(tmp_path / "bad")


def test_wrong_arguments_are_named(reader: Reader, folder: Path) -> None:
    with pytest.raises(UserError, match=r"\(32, 128, 3\) of uint8: this model reads uint8 RGB of 16x32 pixels"):
        reader.predict_arrays(np.zeros((2, 32, 128, 3), np.uint8))
    with pytest.raises(UserError, match="no-such-model"):
        Reader("no-such-model")
    with pytest.raises(UserError, match="device 'abacus'"):
        Reader(folder, device="abacus")
    with pytest.raises(UserError, match="batch_size 0"):
        Reader(folder, batch_size=0)
    for tta in (0, 7):
        with pytest.raises(UserError, match=rf"tta {tta}: outside 1 to 6"):
            Reader(folder, tta=tta)


def test_the_former_keyword_batch_still_works_with_a_warning(folder: Path) -> None:
    with pytest.warns(DeprecationWarning, match="batch_size"):
        assert Reader(folder, batch=3).batch_size == 3


def test_package_is_lazy() -> None:
    code = (
        "import sys, dptr, dptr.cli.app, dptr.evaluation.metrics, dptr.utils.images, dptr.config.train, "
        "dptr.text.charset, dptr.text.tokenizer\n"
        "assert dptr.__version__ == '0.1.0'\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
        "from dptr import Reader\n"
        "Reader()\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert dptr.Reader is Reader and dptr.UserError is UserError and dptr.Prediction is Prediction
    with pytest.raises(AttributeError, match="no attribute 'Writer'"):
        dptr.Writer  # noqa: B018


def test_confidence_is_taken_to_the_temperature_of_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    """The words stay, and so do their probabilities' order; each row is softmax(logits / 2.5)."""
    loaded = load_recognizer(folder)
    warm = {"temperature": 2.5}
    save_checkpoint(tmp_path / "warm", "recognizer", loaded.model, CONFIG, resolve_charset("36"), {}, {}, **warm)
    reader = Reader(tmp_path / "warm")
    with torch.no_grad():
        rows = (loaded.model(to_pixels(crops(4))) / 2.5).softmax(-1)
    for cold, found, row in zip(
        Reader(folder).predict_arrays(crops(4)), reader.predict_arrays(crops(4)), rows, strict=True
    ):
        best = row.max(-1).values[: len(found.text) + 1]
        assert found.text == cold.text and found.confidence < cold.confidence
        assert found.confidence == pytest.approx(float(best.prod()), rel=1e-4)
        assert [p for _, p in found.characters] == pytest.approx(best[: len(found.text)].tolist(), rel=1e-4)
