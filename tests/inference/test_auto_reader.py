"""Crops are read by the recognizer of their script, with those of this repository installed."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from helpers_docs import ROOT
from PIL import Image, ImageDraw, ImageFont

from dptr import AutoReader, Prediction, Reader, UserError
from dptr.inference.auto import choose, digest_reader, open_reader
from dptr.inference.backend import Backend, open_backend
from dptr.inference.prediction import OF_NO_RECOGNIZER
from dptr.inference.reader import ReaderOptions
from dptr.inference.routing import Candidate, Route
from dptr.inference.scripts import MAX_WIDTH, NAMES, ScriptFinder, cut_windows, join_windows
from dptr.inference.zoo import describe_missing_script, find_script_recognizers
from dptr.synth import Font
from dptr.text.scripts import SCRIPTS
from dptr.weights import AUTO, DEFAULT_MODEL

GOLDEN = ROOT / "tests" / "golden" / "recognizers"
WORDS = {
    "Latin": "Apotheke", "Cyrillic": "Выход", "Greek": "Έξοδος", "Arabic": "مدينة", "Hebrew": "יציאה",
    "Devanagari": "विद्यालय", "Bengali": "বাংলাদেশ", "Gujarati": "ગુજરાત", "Gurmukhi": "ਪੰਜਾਬੀ", "Tamil": "தமிழ்நாடு",
    "Telugu": "ఆంధ్రప్రదేశ్", "Kannada": "ಕರ್ನಾಟಕ", "Malayalam": "മലയാളം", "Odia": "ଓଡ଼ିଶା", "Sinhala": "සිංහල",
    "Thai": "ทางออก", "Lao": "ປະເທດລາວ", "Khmer": "កម្ពុជា", "Burmese": "မြန်မာ", "Georgian": "საქართველო",
    "Armenian": "Հայաստան", "Ethiopic": "ኢትዮጵያ", "Hangul": "이다의", "Kana": "のトのト", "Han": "中国香港",
    "none": "20:45",
}  # fmt: skip


def draw(word: str, fonts: list[Font], ink: int = 0, paper: int = 255) -> Image.Image:
    """A word in the first of the fonts that holds its letters, on one line."""
    font = next(font for font in fonts if all(letter in font for letter in word.replace(" ", "")))
    face = ImageFont.truetype(font.path, 40, index=font.number)
    left, top, right, bottom = face.getbbox(word)
    image = Image.new("RGB", (int(right - left) + 12, int(bottom - top) + 12), (paper,) * 3)
    ImageDraw.Draw(image).text((6 - left, 6 - top), word, (ink,) * 3, face)
    return image


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recognizer of another script, whatever this machine has."""
    monkeypatch.setattr("dptr.inference.zoo.find_packages", dict)


def test_every_script_is_told_from_the_others(script_fonts: list[Font]) -> None:
    assert (*WORDS,) == NAMES
    find = ScriptFinder()
    for ink, paper in ((0, 255), (240, 60)):
        found = find([draw(word, script_fonts, ink, paper) for word in WORDS.values()])
        assert [NAMES[index] for index in found.argmax(1)] == list(WORDS)
        assert np.allclose(found.sum(1), 1)


def test_what_is_seen_does_not_depend_on_the_batch(script_fonts: list[Font]) -> None:
    find = ScriptFinder()
    crops = [draw(word, script_fonts) for word in ("Выход", "გ", "a long line of letters that is cut into windows")]
    together = find(crops)
    assert np.allclose(together, np.concatenate([find([crop]) for crop in crops]), atol=1e-5)
    assert find([]).shape == (0, len(NAMES))


def test_empty_and_odd_crops_are_of_no_script() -> None:
    find = ScriptFinder()
    blank = [Image.new("RGB", size, "white") for size in ((100, 32), (1, 1), (3000, 2), (2, 3000))]
    assert [NAMES[index] for index in find(blank).argmax(1)] == ["none"] * 4


def test_long_lines_are_seen_in_windows() -> None:
    windows = cut_windows(Image.new("RGB", (4000, 40)))
    assert len(windows) == 4 and all(window.shape == (32, MAX_WIDTH) for window in windows)
    nothing, latin, greek = np.eye(len(NAMES))[[-1, 0, 2]]
    assert np.allclose(join_windows(np.array([nothing, latin])), latin)
    assert np.allclose(join_windows(np.array([greek, latin, nothing])), (greek + latin) / 2)
    assert np.allclose(join_windows(nothing[None]), nothing)


def test_crops_are_read_by_the_recognizer_of_their_script(installed: list[str]) -> None:
    reader = AutoReader()
    for name in installed:
        files = sorted(GOLDEN.glob(f"{name}-*.png"))
        own, found = Reader(name).read(files), reader.read(files)
        chosen = [each for each, alone in zip(found, own, strict=True) if each.recognizer == name]
        assert 2 * len(chosen) >= len(files), name
        pairs = [(each.text, alone.text) for each, alone in zip(found, own, strict=True) if each.recognizer == name]
        assert all(text == same for text, same in pairs)
    assert pickle.loads(pickle.dumps(reader)).read(files[0]).text == found[0].text
    assert chosen[0].to_dict()["recognizer"] == name and chosen[0].to_dict()["script"] == chosen[0].script


def test_scripts_have_the_recognizer_that_reads_most_of_their_languages(installed: list[str]) -> None:
    found = find_script_recognizers()
    assert found["Latin"] == DEFAULT_MODEL
    assert (found["Cyrillic"], found["Han"], found["Kana"]) == ("cyrillic", "chinese", "japanese")


def test_han_is_read_as_japanese_where_no_chinese_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    languages = {"dptr-en": ("en",), "dptr-latin": ("de", "fr"), "japanese": ("ja",)}
    monkeypatch.setattr("dptr.inference.zoo.read_languages", lambda: languages)
    assert find_script_recognizers() == {"Latin": "dptr-latin", "Kana": "japanese", "Han": "japanese"}


@pytest.mark.usefixtures("alone")
def test_a_script_without_recognizer_is_said_with_the_remedy(script_fonts: list[Font]) -> None:
    reader = AutoReader()
    found = reader.read([draw("Выход", script_fonts), draw("თბილისი", script_fonts), draw("Exit", script_fonts)])
    assert [each.script for each in found] == ["Cyrillic", "Georgian", "Latin"]
    assert {each.recognizer for each in found} == {DEFAULT_MODEL}
    assert found[0].notes == (
        "Cyrillic letters: no recognizer that reads them is installed; install it in the folder of DPTR's source: pip "
        f"install ./recognizers/cyrillic; read by {DEFAULT_MODEL}, {OF_NO_RECOGNIZER}",
    )
    assert "make one: dptr new-language ka --out runs/ka" in found[1].notes[0]
    assert max(each.confidence for each in found[:2]) < 0.1 < found[2].confidence
    assert not found[2].notes


@pytest.mark.usefixtures("alone")
def test_capitals_of_a_script_without_recognizer_are_told_by_how_they_are_read() -> None:
    found = AutoReader().read(GOLDEN / "cyrillic-3.png")
    assert found.text == "BOCLMOMY" and found.script == "Cyrillic" and found.notes[0].endswith(OF_NO_RECOGNIZER)


def test_every_missing_script_names_a_remedy() -> None:
    assert all("; install it" in text or "; make one" in text for text in map(describe_missing_script, SCRIPTS))


def test_digits_and_nothing_go_to_the_default(script_fonts: list[Font]) -> None:
    digits, nothing = AutoReader().read([draw("20:45", script_fonts), Image.new("RGB", (90, 32), "white")])
    assert (digits.text, digits.script, digits.recognizer) == ("20:45", "none", DEFAULT_MODEL)
    assert (nothing.script, nothing.recognizer) == ("none", DEFAULT_MODEL)


def test_the_surer_reading_is_kept() -> None:
    def reading(text: str, confidence: float, runaway: bool = False) -> Prediction:
        return Prediction(text, confidence, tuple((each, 0.9) for each in text), runaway=runaway)

    way = Route((Candidate("a", "Latin", 0.55), Candidate("b", "Cyrillic", 0.45)))
    kept = choose(way, [reading("BXOA", 0.3), reading("ВХОД", 0.8)])
    assert (kept.text, kept.script, kept.recognizer, kept.confidence) == ("ВХОД", "Cyrillic", "b", 0.8)
    assert choose(way, [reading("OOOO", 0.99, True), reading("ооо", 0.4)]).text == "ооо"


def test_it_travels_as_its_settings_and_opens_once(installed: list[str]) -> None:
    reader = AutoReader(batch_size=3, turn=False, tta=2)
    data = pickle.dumps(reader)
    assert len(data) < 1000
    other, third = pickle.loads(data), pickle.loads(data)
    assert repr(other) == repr(reader) == "AutoReader(device='cpu', batch_size=3, turn=False, tta=2)"
    assert third.backend is other.backend and third.backend is not reader.backend
    assert third.reader_of("cyrillic") is other.reader_of("cyrillic"), "a pool would open the models for each task"


def test_a_pool_of_spawned_processes_reads_by_the_script(script_fonts: list[Font]) -> None:
    reader, crops = AutoReader(), [draw(word, script_fonts) for word in ("Exit", "Market")]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        read = list(pool.map(reader, crops))
    assert [(each.text, each.script) for each in read] == [("Exit", "Latin"), ("Market", "Latin")]


def test_threads_open_a_recognizer_once_and_read_the_same(
    installed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [GOLDEN / f"{name}-{number}.png" for name in ("cyrillic", "chinese") for number in (0, 1, 3)]
    expected = AutoReader().read(files)
    reader, opened = AutoReader(), []

    def count(model: str, device: str) -> Backend:
        opened.append(model)
        return open_backend(model, device)

    monkeypatch.setattr("dptr.inference.reader.open_backend", count)
    with ThreadPoolExecutor(6) as pool:
        read = list(pool.map(reader, files * 3))
    for each, own in zip(read, expected * 3, strict=True):
        assert (each.text, each.script, each.recognizer) == (own.text, own.script, own.recognizer)
    assert len(opened) == len(set(opened)) >= 2


def test_options_are_checked_and_kept() -> None:
    options = ReaderOptions(batch_size=2, turn=False, lexicon=iter(["Market"]))
    reader = open_reader("dptr-en-tiny", options)
    assert reader.options == options and options.lexicon == ("Market",)
    assert type(open_reader(AUTO)) is AutoReader and type(reader) is Reader
    with pytest.raises(UserError, match="batch_size 0"):
        ReaderOptions(batch_size=0)
    with pytest.raises(UserError, match="tta 9"):
        open_reader(AUTO, ReaderOptions(tta=9))


def test_expectations_name_a_language() -> None:
    for expected in ({"charset": "10"}, {"pattern": "date"}, {"lexicon": ["a"]}):
        with pytest.raises(UserError, match="is of one language; name that one"):
            open_reader(AUTO, ReaderOptions(**expected))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="use AutoReader"):
        Reader(AUTO)
    with pytest.raises(UserError, match="thresholds of its own"):
        AutoReader().least_confidence(0.9)


def test_the_digest_is_that_of_all_that_reads(installed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = digest_reader(AUTO)
    assert digest_reader(AUTO) == whole and len(whole) == len(digest_reader(DEFAULT_MODEL))
    monkeypatch.setattr("dptr.inference.auto.find_script_recognizers", lambda: {"Latin": DEFAULT_MODEL})
    assert digest_reader(AUTO) != whole
