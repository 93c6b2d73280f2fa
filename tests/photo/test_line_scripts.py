"""A photograph of several scripts: each line is read by the recognizer of its own."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from dptr import OCR, AutoReader, Prediction
from dptr.inference.prediction import OF_NO_RECOGNIZER
from dptr.inference.routing import Candidate, Route
from dptr.photo.candidates import ALONE, LineReaders, RoutedLine
from dptr.photo.detect import Detection
from dptr.photo.spaces import Columns
from dptr.photo.split import Gaps
from dptr.photo.views import LineViews, View
from dptr.synth import Font
from dptr.weights import DEFAULT_MODEL


class Drawn:
    """Lines on a white page, and a detector that finds them."""

    def __init__(self, fonts: list[Font], *lines: str) -> None:
        self.image = Image.new("RGB", (420, 40 + 60 * len(lines)), "white")
        pen, boxes = ImageDraw.Draw(self.image), []
        for row, text in enumerate(lines):
            font = next(font for font in fonts if all(letter in font for letter in text.replace(" ", "")))
            face, place = ImageFont.truetype(font.path, 30, index=font.number), (40, 30 + 60 * row)
            pen.text(place, text, font=face, fill=(20, 30, 60))
            left, top, right, bottom = pen.textbbox(place, text, font=face)
            boxes.append([(left - 4, top - 5), (right + 4, top - 5), (right + 4, bottom + 5), (left - 4, bottom + 5)])
        self.boxes = np.array(boxes, float)

    def __call__(self, image: Image.Image) -> Detection:
        return Detection(self.boxes, np.ones(len(self.boxes)))


def test_each_line_is_read_by_the_recognizer_of_its_script(installed: list[str], script_fonts: list[Font]) -> None:
    drawn = Drawn(script_fonts, "Выход направо", "Fresh bread daily", "10:30")
    found = OCR("auto", detector=drawn)(drawn.image)
    assert [line.text for line in found.lines[:2]] == ["Выход направо", "Fresh bread daily"]
    assert [{word.recognizer for word in line.words} for line in found.lines[:2]] == [{"cyrillic"}, {DEFAULT_MODEL}]
    assert found.lines[2].text == "10:30" and not found.notes
    held = found.to_dict()["lines"][0]["words"][0]
    assert (held["script"], held["recognizer"]) == ("Cyrillic", "cyrillic")
    alone = OCR("cyrillic", detector=drawn)(drawn.image)
    assert alone.lines[0].text == found.lines[0].text and "script" not in alone.to_dict()["lines"][0]["words"][0]


def test_threads_and_other_processes_read_the_same(installed: list[str], script_fonts: list[Font]) -> None:
    drawn = Drawn(script_fonts, "Выход направо", "Fresh bread daily")
    ocr = OCR("auto", detector=drawn)
    expected = ocr(drawn.image).to_dict()
    with ThreadPoolExecutor(3) as pool:
        assert [page.to_dict() for page in pool.map(ocr, [drawn.image] * 3)] == [expected] * 3
    travelled = pickle.loads(pickle.dumps(ocr))
    assert travelled(drawn.image).to_dict() == expected
    assert repr(travelled.reader) == repr(ocr.reader) == "AutoReader(device='cpu', batch_size=64)"


def test_a_script_without_recognizer_is_noted_once_a_page(
    script_fonts: list[Font], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dptr.inference.zoo.find_packages", dict)
    drawn = Drawn(script_fonts, "Выход", "налево", "Fresh bread daily")
    found = OCR("auto", detector=drawn)(drawn.image)
    (note,) = found.notes
    assert note.startswith("Cyrillic letters: no recognizer") and note.endswith(OF_NO_RECOGNIZER)
    sure = {word.text for word in found.words if word.confidence >= 0.4}
    assert sure == {"Fresh", "bread", "daily"}


def test_a_page_without_lines_has_no_scripts() -> None:
    drawn = Drawn([])
    assert OCR("auto", detector=drawn)(drawn.image).lines == ()
    assert LineReaders(AutoReader()).route([]) == []


def _view(recognizer: str, *readings: Prediction) -> LineViews:
    columns = Columns(np.zeros(40), np.zeros(40), 10)
    pieces = tuple((index / len(readings), (index + 0.9) / len(readings)) for index in range(len(readings)))
    spans = [(index, index) for index in range(len(readings))]
    gaps = Gaps(pieces, (0.9,) * (len(readings) - 1))
    outline = np.array([(0, 0), (90, 0), (90, 20), (0, 20)], float)
    held = dict(zip(spans, readings, strict=True))
    return LineViews([View(outline, columns, gaps, spans, readings=held, recognizer=recognizer)])


def _reading(text: str, confidence: float) -> Prediction:
    return Prediction(text, confidence, tuple((each, confidence) for each in text))


def test_the_surer_of_two_recognizers_counts_for_the_line() -> None:
    latin = _view("a", _reading("MOCKBA", 0.5), _reading("TEATP", 0.5))
    cyrillic = _view("b", _reading("МОСКВА", 0.9), _reading("ТЕАТР", 0.8))
    way = Route((Candidate("a", "Latin", 0.6), Candidate("b", "Cyrillic", 0.4)))
    line = RoutedLine(way, (latin, cyrillic))
    line.choose_candidate()
    line.annotate()
    assert line.chosen is cyrillic and not line.note
    told = [(each.script, each.recognizer, each.confidence) for each in line.chosen.views[0].readings.values()]
    assert told == [("Cyrillic", "b", 0.9), ("Cyrillic", "b", 0.8)]


def test_one_recognizer_alone_is_not_told() -> None:
    line = RoutedLine(ALONE, (_view("", _reading("MOCKBA", 0.5)),))
    line.choose_candidate()
    line.annotate()
    assert line.chosen.views[0].readings[0, 0] == _reading("MOCKBA", 0.5)
