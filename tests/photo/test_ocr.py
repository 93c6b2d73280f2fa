"""From a picture to a page: found by the detector that a user has or by boxes given, read by the model that ships."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers_photo import PHOTOGRAPH, PHOTOGRAPHED, bend_picture, ring_outline
from PIL import Image, ImageDraw, ImageFont

import dptr
from dptr import OCR, Page, Reader, UserError
from dptr.inference.prediction import Prediction
from dptr.photo.detect import DEFAULT_DETECTOR, DBDetector, Detection, _stretches, find_boxes, grow, open_detector
from dptr.photo.ocr import agree
from dptr.photo.strip import enclose
from dptr.photo.views import View
from dptr.synth.fonts import EMBEDDED  # the fonts that ship

ROOT = Path(__file__).resolve().parents[2]
LINES = ("Fresh bread", "daily from ten")


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(EMBEDDED / "OpenSans.ttf"), size)


def _draw(lines: tuple[str, ...] = LINES, size: int = 30) -> tuple[Image.Image, np.ndarray, list[list[np.ndarray]]]:
    """A white page, the boxes around its lines as detectors give them, and the ink of each word."""
    image = Image.new("RGB", (420, 60 + 50 * len(lines)), "white")
    draw = ImageDraw.Draw(image)
    boxes, words = [], []
    for row, text in enumerate(lines):
        place = (40, 40 + 50 * row)
        draw.text(place, text, font=_font(size), fill=(20, 30, 60))
        left, top, right, bottom = draw.textbbox(place, text, font=_font(size))
        boxes.append(((left - 4, top - 5), (right + 4, top - 5), (right + 4, bottom + 5), (left - 4, bottom + 5)))
        own, start = [], 0
        for word in text.split(" "):
            shift = draw.textlength(text[:start], font=_font(size))
            own.append(np.array(draw.textbbox((place[0] + shift, place[1]), word, font=_font(size))))
            start += len(word) + 1
        words.append(own)
    return image, np.array(boxes, float), words


class Given:
    """A detector that finds the boxes it was given."""

    def __init__(self, boxes: np.ndarray) -> None:
        self.boxes = np.asarray(boxes, float).reshape(-1, 4, 2)

    def __call__(self, image: Image.Image) -> Detection:
        return Detection(self.boxes, np.ones(len(self.boxes)))


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader("dptr-en")


def test_a_photograph_is_read_with_the_default_detector(reader: Reader) -> None:
    assert OCR(reader=reader)(PHOTOGRAPH).text == PHOTOGRAPHED


def test_straight_text_is_read_as_without_outlines(reader: Reader) -> None:
    detector = open_detector(DEFAULT_DETECTOR)
    ocrs = [
        OCR(detector=each, reader=reader) for each in (detector, lambda image: replace(detector(image), outlines={}))
    ]
    assert ocrs[0](PHOTOGRAPH) == ocrs[1](PHOTOGRAPH)


def _arc(text: str, radius: float, up: bool) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """A word along a circle on white, the outline around it, and the middles of its letters."""
    font = _font(40)
    ends = np.array([font.getlength(text[:count]) for count in range(len(text) + 1)])
    straight = Image.new("RGB", (round(ends[-1]) + 12, 56), "white")
    ImageDraw.Draw(straight).text((6, 0), text, (20, 30, 60), font)
    center = (300.0, 330.0 if up else 70.0)
    picture = bend_picture(straight, (600, 400), center, radius, up)
    outline = ring_outline(center, radius, 56, np.degrees(straight.width / radius), up, 9)
    turn = (6 + (ends[:-1] + ends[1:]) / 2 - straight.width / 2) / radius
    middles = np.stack((np.sin(turn), (-1 if up else 1) * np.cos(turn)), 1) * radius + center
    return picture, outline, middles


@pytest.mark.parametrize("up", [True, False])
def test_a_curved_word_is_found_and_read_along_its_arc(reader: Reader, up: bool) -> None:
    picture, _, middles = _arc("Harbour", 120, up)
    (word,) = OCR(reader=reader)(picture).words
    assert word.text == "Harbour" and len(word.outline) > 4
    assert word.characters and all(len(character.box) == 4 for character in word.characters)
    found = np.array([np.mean(character.box, axis=0) for character in word.characters])
    assert np.hypot(*(found - middles).T).max() < 0.35 * 40


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("upside_down", [True, False])
def test_outlines_that_are_given_are_read_also_upside_down(reader: Reader, up: bool, upside_down: bool) -> None:
    picture, outline, middles = _arc("Bakery", 90, up)
    given = np.roll(outline, 9, 0) if upside_down else outline
    ocr = OCR(detector=lambda _: Detection(enclose(given)[None], np.ones(1), {0: [given]}), reader=reader)
    (line,) = ocr(picture).lines
    assert line.text == "Bakery" and line.angle == pytest.approx(0, abs=3)
    found = np.array([np.mean(character.box, axis=0) for character in line.words[0].characters])
    assert np.hypot(*(found - middles).T).max() < 0.3 * 40
    assert np.ptp(np.hypot(*(np.array(line.outline) - (300, 330 if up else 70)).T)) == pytest.approx(0.76 * 56, abs=3)


@pytest.mark.parametrize("turn", [0, 9])
def test_steep_arcs_are_read_either_way(reader: Reader, turn: int) -> None:
    picture, outline, _ = _arc("Bakery", 90, True)
    upward = np.roll(np.stack((outline[:, 1], picture.width - outline[:, 0]), 1), turn, 0)
    ocr = OCR(detector=lambda _: Detection(enclose(upward)[None], np.ones(1), {0: [upward]}), reader=reader)
    (line,) = ocr(picture.transpose(Image.Transpose.ROTATE_90)).lines
    assert line.text == "Bakery" and line.angle == pytest.approx(-90, abs=3)


def test_lines_become_words_in_their_places(reader: Reader) -> None:
    image, boxes, inks = _draw()
    page = OCR(detector=Given(boxes[::-1]), reader=reader)(image)
    assert page.text == "\n".join(LINES)
    assert (page.width, page.height, page.number) == (*image.size, 1)
    for line, own in zip(page.lines, inks, strict=True):
        assert line.angle == pytest.approx(0)
        for word, ink in zip(line.words, own, strict=True):
            corners = np.array(word.box)
            assert corners[[0, 3], 0] == pytest.approx(ink[0], abs=5)
            assert corners[[1, 2], 0] == pytest.approx(ink[2], abs=5)
            assert "".join(character.text for character in word.characters) == word.text
            edges = [character.box[0][0] for character in word.characters] + [word.characters[-1].box[1][0]]
            assert edges == sorted(edges)
            assert edges[0] == pytest.approx(corners[0, 0]) and edges[-1] == pytest.approx(corners[1, 0])


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270])
def test_turned_lines_are_read_in_the_way_they_run(reader: Reader, turn: Image.Transpose) -> None:
    image, boxes, _ = _draw()
    width, height = image.size
    places = {
        Image.Transpose.ROTATE_90: lambda x, y: (y, width - x),
        Image.Transpose.ROTATE_180: lambda x, y: (width - x, height - y),
        Image.Transpose.ROTATE_270: lambda x, y: (height - y, x),
    }[turn]
    turned = np.array([[places(x, y) for x, y in box] for box in boxes])
    upright = np.array([np.roll(box, -int(box.sum(1).argmin()), 0) for box in turned])  # as detectors give them
    page = OCR(detector=Given(upright), reader=reader)(image.transpose(turn))
    angle = {Image.Transpose.ROTATE_90: -90, Image.Transpose.ROTATE_180: 180, Image.Transpose.ROTATE_270: 90}[turn]
    assert sorted(line.text for line in page.lines) == sorted(LINES)
    assert [line.angle for line in page.lines] == pytest.approx([angle, angle])


@pytest.mark.parametrize("half_turn", [False, True])
def test_a_recognizer_of_lines_reads_them_whole_too(half_turn: bool) -> None:
    """Also upside down, where the line as it stands is read first, wrongly."""
    reader = Reader(ROOT / "models" / "dptr-en-lines")
    image, boxes, _ = _draw()
    if half_turn:
        image, boxes = image.transpose(Image.Transpose.ROTATE_180), np.roll(np.array(image.size) - boxes, 2, 1)
    ocr = OCR(detector=Given(boxes), reader=reader)
    taken: list[str] = []
    whole = View.take_line

    def take(view: View, reading: Prediction) -> None:
        taken.append(reading.text)
        whole(view, reading)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(View, "take_line", take)
        page = ocr(image)
    assert sorted(line.text for line in page.lines) == sorted(LINES)
    assert set(LINES) <= set(taken)
    patterned = OCR(detector=Given(boxes), reader=Reader(ROOT / "models" / "dptr-en-lines", pattern="[a-z]+"))
    assert {word.text for word in patterned(image).words} <= {"fresh", "bread", "daily", "from", "ten"}


@pytest.mark.parametrize(
    "text", ["Donaudampfschifffahrtsgesellschaftskapitaen", "example.org/downloads/annual-report-2024"]
)
def test_a_word_is_as_long_as_the_recognizer_reads(text: str) -> None:
    """Words longer than 12 heights were cut in two, though ``dptr-latin`` reads 20."""
    image = Image.new("RGB", (900, 100), "white")
    ImageDraw.Draw(image).text((40, 30), text, font=_font(30), fill="black")
    left, top, right, bottom = np.add(ImageDraw.Draw(image).textbbox((40, 30), text, font=_font(30)), (-8, -8, 8, 8))
    box = np.array(((left, top), (right, top), (right, bottom), (left, bottom)))
    assert OCR("dptr-latin", detector=Given(box))(image).text == text


def test_the_periods_of_sentences_are_read() -> None:
    image, boxes, _ = _draw(("The end. Then 4.", "Mr. A. B. Smith, Jr."))
    assert OCR("dptr-latin", detector=Given(boxes))(image).text == "The end. Then 4.\nMr. A. B. Smith, Jr."


def test_pictures_without_text_give_empty_pages(reader: Reader) -> None:
    ocr = OCR(detector=Given(np.zeros((0, 4, 2))), reader=reader)
    pages = ocr([np.full((50, 60, 3), 255, np.uint8), np.zeros((1, 300), np.uint8), np.zeros((1, 1), np.uint8)])
    assert [page.lines for page in pages] == [(), (), ()]
    assert [page.text for page in pages] == ["", "", ""]


def test_boxes_that_hold_nothing_are_left_out(reader: Reader) -> None:
    image, boxes, _ = _draw()
    odd = [
        np.full((4, 2), 30.0),  # a point
        boxes[0][[0, 2, 1, 3]],  # crossed
        boxes[0] + 5000,  # outside
        boxes[0][::-1],  # against the clock
    ]
    page = OCR(detector=Given(np.array([*odd, boxes[1]])), reader=reader)(image)
    assert page.text == LINES[1]


def test_boxes_may_reach_beyond_the_picture(reader: Reader) -> None:
    image, boxes, _ = _draw()
    wide = boxes + np.array(((-60, 0), (200, 0), (200, 0), (-60, 0)))
    assert OCR(detector=Given(wide), reader=reader)(image).text == "\n".join(LINES)


def test_errors_are_raised_or_returned(reader: Reader) -> None:
    image, boxes, _ = _draw()
    ocr = OCR(detector=Given(boxes), reader=reader)
    with pytest.raises(UserError, match="no-such"):
        ocr(["no-such.png", image])
    missing, page = ocr([image, "no-such.png"][::-1], errors="return")
    assert isinstance(missing, UserError) and page.text == "\n".join(LINES)
    assert isinstance(ocr("no-such.png", errors="return"), UserError)
    with pytest.raises(UserError, match="'ignore'"):
        ocr(image, errors="ignore")  # type: ignore[call-overload]


def test_a_stream_is_in_order_whatever_the_batch() -> None:
    image, boxes, _ = _draw()
    ocr = OCR(detector=Given(boxes), batch_size=7)
    error = UserError("b: broken")
    taken = []

    def pictures():
        for number in range(1, 41):
            taken.append(number)
            yield "a", number, error if number == 3 else image

    pages = ocr.stream(pictures())
    first = next(pages)
    assert len(taken) <= 16  # bounded: the rest of the stream waits
    outcomes = [first, *pages]
    assert outcomes[2] is error
    others = [page for page in outcomes if page is not error]
    assert [page.number for page in others] == [number for number in range(1, 41) if number != 3]
    assert {page.text for page in others} == {"\n".join(LINES)}


def test_a_stream_reads_what_one_picture_at_a_time_gives(reader: Reader) -> None:
    texts = (("Fresh bread", "daily from ten"), ("Total",), (), ("one two three", "four", "five six"))
    drawn = [_draw(lines) for lines in texts]
    places = {image.tobytes(): boxes for image, boxes, _ in drawn}

    def detect(image: Image.Image) -> Detection:
        return Given(places[image.tobytes()])(image)

    ocr = OCR(detector=detect, reader=reader)
    together = list(ocr.stream(("", 1, image) for image, _, _ in drawn))
    for page, (image, _, _), lines in zip(together, drawn, texts, strict=True):
        alone = ocr(image)
        assert isinstance(page, Page) and page.text == alone.text
        assert [word.text for word in page.words] == " ".join(lines).split()
        assert [word.box for word in page.words] == [word.box for word in alone.words]
        confidences = [[word.confidence for word in each.words] for each in (page, alone)]
        assert confidences[0] == pytest.approx(confidences[1], abs=1e-5)  # batches differ, and with them rounding


@pytest.mark.parametrize("ahead", [1, 50_000_000])
def test_an_error_of_the_detector_belongs_to_its_page(
    ahead: int, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dptr.photo.ocr.AHEAD_PIXELS", ahead)
    image, boxes, _ = _draw()

    def detect(picture: Image.Image) -> Detection:
        if picture.width == 1:
            raise UserError("too narrow")
        return Given(boxes)(picture)

    ocr = OCR(detector=detect, reader=reader)
    first, second, third = ocr([image, Image.new("RGB", (1, 9)), image], errors="return")
    assert str(second) == "too narrow" and first.text == third.text == "\n".join(LINES)


def test_threads_and_other_processes_read_the_same(reader: Reader) -> None:
    image, boxes, _ = _draw()
    ocr = OCR(detector=Given(boxes), reader=reader)
    expected = ocr(image)
    assert pickle.loads(pickle.dumps(ocr))(image) == expected
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ocr, [image] * 12)) == {expected}


def test_it_is_exported_lazily() -> None:
    assert dptr.OCR is OCR and "OCR" in dptr.__all__


def test_a_charset_restricts_what_is_read() -> None:
    image, boxes, _ = _draw(("SOLD",))
    page = OCR("dptr-en", detector=Given(boxes), charset="10")(image)
    assert page.text and page.text.replace(" ", "").isdigit()


@pytest.mark.parametrize("charset", ["10", "94", "10+space"])
def test_a_charset_without_a_space_keeps_words_apart(charset: str) -> None:
    """Lines are read whole, too: without spaces they would say that there are none."""
    image, boxes, _ = _draw(("2024 10 31", "12 345 6789"))
    assert OCR("dptr-latin", detector=Given(boxes), charset=charset)(image).text.split() == (
        ["2024", "10", "31", "12", "345", "6789"]
    )


def test_only_words_that_fit_are_on_the_page() -> None:
    image, boxes, _ = _draw(("Total 12.50", "Thank you"))
    assert OCR("dptr-en", detector=Given(boxes), pattern="price")(image).text == "12.50"
    page = OCR("dptr-en", detector=Given(boxes), lexicon=["Bank", "you"])(image)
    assert [word.text for word in page.words] == ["you"]
    assert OCR(detector=Given(boxes), pattern="iban")(image).lines == ()


@pytest.mark.parametrize("model", ["dptr-latin", "dptr-en"])
def test_parts_of_words_that_do_not_fit_are_no_words(model: str) -> None:
    """A date holds three numbers that could be prices."""
    image, boxes, _ = _draw(("Total 12.50", "12.03.2026 14:05"))
    assert OCR(model, detector=Given(boxes), pattern="price")(image).text == "12.50"
    page = OCR(model, detector=Given(boxes), pattern="date")(image)
    assert page.text == "12.03.2026"
    free = {word.text: word.box for word in OCR(model, detector=Given(boxes))(image).words}
    assert np.allclose(page.words[0].box, free["12.03.2026"])


def test_maps_become_boxes() -> None:
    text = np.zeros((60, 120), np.float32)
    text[20:30, 30:90] = 0.9
    text[50:52, 10:12] = 0.9  # too small
    text[40:50, 30:90] = 0.4  # not sure enough
    found = find_boxes(text, unclip=1.6)
    margin = 1.6 * 600 / 140
    (box,) = found.boxes
    assert box == pytest.approx(grow(np.array(((30, 20), (90, 20), (90, 30), (30, 30)), float), margin))
    assert found.scores == pytest.approx([0.9])
    assert len(find_boxes(np.zeros((5, 5), np.float32)).boxes) == 0


@pytest.mark.parametrize("length", [1, 1600, 1601, 9000])
def test_tiles_cover_a_picture_once(length: int) -> None:
    stretches = _stretches(length)
    assert [stretches[0][0], stretches[-1][1]] == [0, length]
    assert all(0 < end - start <= 1600 for start, end in stretches)
    assert all(one[1] == two[0] for one, two in pairwise(stretches))


def test_unknown_detectors_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"'east': unknown; pass one of ppocr, rapidocr"):
        open_detector("east")
    with pytest.raises(UserError, match="no such file"):
        open_detector(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"x")
    with pytest.raises(UserError, match="not a whole ONNX file"):
        open_detector(tmp_path / "broken.onnx")


@pytest.fixture(scope="module")
def dark_pixels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A detector as a file: text is where the picture is dark."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "minus"], ["inverted"]),
        helper.make_node("Add", ["inverted", "half"], ["dark"]),
        helper.make_node("Clip", ["dark", "zero", "one"], ["y"]),
    ]
    constants = {"axes": np.array([1]), "minus": np.float32(-0.5), "half": np.float32(0.5)}
    constants |= {"zero": np.float32(0), "one": np.float32(1)}
    graph = helper.make_graph(
        nodes,
        "dark",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    path = tmp_path_factory.mktemp("detector") / "dark.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return str(path)


@pytest.mark.parametrize("size", [(90, 40), (1280, 720), (3000, 900), (500, 5000), (1, 1), (700, 1)])
def test_a_user_s_detector_finds_a_block_at_any_size(dark_pixels: str, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "white")
    width, height = size
    left, top, right, bottom = (int(side) for side in (0.2 * width, 0.4 * height, 0.7 * width, 0.6 * height))
    if right > left and bottom > top:
        image.paste("black", (left, top, right, bottom))
    found = DBDetector(dark_pixels)(image)
    if min(size) == 1:
        return
    (box,) = found.boxes
    middle = (left + right) / 2, (top + bottom) / 2
    assert box.mean(0) == pytest.approx(middle, abs=0.01 * max(size))
    margin = 1.6 * (right - left) * (bottom - top) / 2 / (right - left + bottom - top)
    assert np.ptp(box, 0) == pytest.approx((right - left + 2 * margin, bottom - top + 2 * margin), rel=0.06, abs=2)


def test_text_too_small_for_the_first_look_is_found(dark_pixels: str) -> None:
    """Nothing is found of a picture that is shrunk to 1600 pixels; it is no picture without text for that."""
    image = Image.new("RGB", (4000, 3000), "white")
    image.paste("black", (1500, 900, 1560, 904))
    (box,) = DBDetector(dark_pixels)(image).boxes
    assert box.mean(0) == pytest.approx((1530, 902), abs=2)


def test_blank_paper_is_not_searched_again(dark_pixels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan: grain of 8 of 255, a shadow along one side; with a small gray mark, it is searched."""
    shading = np.linspace(170, 250, 2480)[None, :, None]
    grain = np.random.default_rng(0).normal(0, 8, (3508, 2480, 3))
    paper = Image.fromarray((shading + grain).clip(0, 255).astype(np.uint8))
    detector = DBDetector(dark_pixels)
    scales: list[float] = []
    monkeypatch.setattr(
        detector,
        "_detect_at_scale",
        lambda image, scale: scales.append(scale) or Detection(np.zeros((0, 4, 2)), np.zeros(0)),
    )
    detector(paper)
    assert len(scales) == 1
    paper.paste((150, 150, 150), (2000, 900, 2030, 903))
    detector(paper)
    assert len(scales) == 3


def test_tiles_see_what_the_whole_does(dark_pixels: str) -> None:
    detector = DBDetector(dark_pixels)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 3500, 3), np.uint8)
    text = detector.map_text(Image.fromarray(pixels))
    assert text == pytest.approx(np.clip(0.5 - 0.5 * (pixels.mean(2) / 127.5 - 1), 0, 1), abs=1e-5)


def test_every_frame_of_every_file_is_a_page(reader: Reader, tmp_path: Path) -> None:
    image, boxes, _ = _draw()
    image.save(tmp_path / "two.tif", save_all=True, append_images=[image])
    image.save(tmp_path / "one.png")
    ocr = OCR(reader=reader, detector=Given(boxes))
    files = [tmp_path / "two.tif", tmp_path / "none.png", tmp_path / "one.png"]
    found = list(ocr.pages(files))
    assert [page.number if isinstance(page, Page) else str(page) for page in found][::3] == [1, 1]
    assert isinstance(found[2], UserError) and "none.png" in str(found[2])
    assert [page.text for page in found if isinstance(page, Page)] == 3 * ["\n".join(LINES)]
    assert [page.number for page in ocr.pages(tmp_path / "two.tif") if isinstance(page, Page)] == [1, 2]


def test_large_pictures_do_not_wait_for_a_full_batch(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    image, boxes, _ = _draw()
    taken: list[int] = []

    def pictures() -> Iterator[tuple[str, int, Image.Image]]:
        for number in range(1, 5):
            taken.append(number)
            yield "scan", number, image

    ocr = OCR(reader=reader, detector=Given(boxes))
    next(iter(ocr.stream(pictures())))
    assert taken == [1, 2, 3, 4]
    taken.clear()
    monkeypatch.setattr("dptr.photo.ocr.AHEAD_PIXELS", 2 * image.width * image.height)
    next(iter(ocr.stream(pictures())))
    assert len(taken) <= 2


def test_readings_of_a_word_agree_by_product_and_show_calibrated_confidence() -> None:
    surer = Prediction("NEB", 0.99, (), uncalibrated=0.5)
    same = [Prediction("NET", 0.9, (), uncalibrated=0.4), Prediction("NET", 0.6, (), uncalibrated=0.2)]
    lost = Prediction("NETNETNET", 1.0, (), runaway=True, uncalibrated=0.9)
    agreed = agree([surer, *same, lost])
    assert agreed.text == "NET"
    assert agreed.confidence == pytest.approx((0.9 + 0.6) / 4)
    assert agreed.product == pytest.approx((0.4 + 0.2) / 4)
