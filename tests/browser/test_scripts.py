"""The page's scripts beside Python: the same pixels as Pillow's, the same sizes and confidences as the reader's."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unicodedata import bidirectional

import numpy as np
import pytest
from helpers_browser import CHROMIUM, browsing, serving_folder
from PIL import Image
from PIL import __version__ as pillow

from dptr.browser import FOLDER
from dptr.inference.confidence import WordConfidence, apply_temperature
from dptr.text.direction import logical_order, to_logical, to_visual, visual_order
from dptr.text.languages import LANGUAGES
from dptr.utils.sizes import CropSizes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]
BYTES = "(text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0))"
TEXT = "(bytes) => btoa(Array.from(bytes, (each) => String.fromCharCode(each)).join(''))"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "index.html").write_text("<!doctype html><title>Scripts</title>")
    (folder / "static").symlink_to(FOLDER)
    with serving_folder(folder) as address, browsing() as browser:
        opened = browser.new_page()
        opened.goto(address)
        yield opened


def noise(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(width * 10_000 + height)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def change(page: Any, image: Image.Image, module: str, call: str, **values: Any) -> np.ndarray:
    """What a script makes of a picture: ``call`` is JavaScript with the module as ``m`` and the picture as ``p``."""
    encoded = base64.b64encode(image.tobytes()).decode()
    code = f"""async ([data, width, height, values]) => {{
        const m = await import("./static/{module}.js");
        const p = {{ width, height, data: ({BYTES})(data) }};
        const made = {call};
        return [({TEXT})(made.data), made.height, made.width];
    }}"""
    data, height, width = page.evaluate(code, [encoded, image.width, image.height, values])
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 3)


def difference(one: np.ndarray, image: Image.Image) -> int:
    other = np.asarray(image)
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("filter", ["BICUBIC", "BILINEAR"])
@pytest.mark.parametrize(
    "sizes",
    [(100, 32, 128, 32), (640, 200, 100, 32), (5, 3, 128, 32), (300, 300, 300, 32), (64, 64, 128, 64), (1, 1, 64, 48),
     (900, 50, 640, 32), (128, 32, 128, 32), (37, 91, 64, 48), (188, 124, 99, 112), (143, 193, 84, 51)],
    ids=str,
)  # fmt: skip
def test_pictures_are_resized_as_by_pillow(page: Any, sizes: tuple[int, int, int, int], filter: str) -> None:
    wide, high, width, height = sizes
    if int(pillow.split(".")[0]) < 13 and max(0, high - height) > 2 * (wide - width):
        pytest.skip("Pillow resizes rows first before version 13")
    image = noise(wide, high)
    made = change(page, image, "resize", f"m.resize(p, {width}, {height}, m.{filter})")
    assert difference(made, image.resize((width, height), Image.Resampling[filter])) <= 1


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (5, 7), (1, 4), (4, 1), (17, 30)], ids=str)
def test_pictures_are_averaged_as_by_pillow(page: Any, factors: tuple[int, int]) -> None:
    image = noise(83, 61)
    made = change(page, image, "resize", f"m.reduce(p, {factors[0]}, {factors[1]})")
    assert difference(made, image.reduce(factors)) <= 1


@pytest.mark.parametrize("sizes", [(1000, 777, 100, 80), (900, 900, 100, 111), (640, 480, 832, 624)], ids=str)
def test_pictures_are_shrunk_for_the_detector_as_by_pillow(page: Any, sizes: tuple[int, int, int, int]) -> None:
    wide, high, width, height = sizes
    image = noise(wide, high)
    made = change(page, image, "resize", f"m.shrink(p, {width}, {height})")
    assert difference(made, image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3)) <= 1


def test_pictures_are_turned_clockwise(page: Any) -> None:
    image = noise(7, 11)
    for degrees, transpose in ((90, "ROTATE_270"), (180, "ROTATE_180"), (270, "ROTATE_90")):
        made = change(page, image, "picture", f"m.turn(p, {degrees})")
        assert difference(made, image.transpose(Image.Transpose[transpose])) == 0


@pytest.mark.parametrize(
    "sizes",
    [
        CropSizes(32, 128),
        CropSizes(48, 64, 960),
        CropSizes(48, 64, 960, stretch=1.5),
        CropSizes(32, 128, 640, ((64, 64), (48, 96), (40, 112))),
    ],
    ids=str,
)
def test_crops_have_the_sizes_that_the_reader_chooses(page: Any, sizes: CropSizes) -> None:
    aspects = [*np.geomspace(0.05, 60, 400).tolist(), *((64 + 16 * n) / 48 for n in range(60))]
    metadata = {"height": sizes.height, "width": sizes.width, "widest": sizes.max_width, "sizes": sizes.sizes}
    metadata |= {"stretch": sizes.stretch} if sizes.stretch != 1 else {}
    code = """async ([held, aspects]) => {
        const { Sizes } = await import("./static/sizes.js");
        const sizes = new Sizes(held);
        return [aspects.map((aspect) => sizes.choose(aspect)), sizes.longest];
    }"""
    chosen, longest = page.evaluate(code, [metadata, aspects])
    assert [tuple(size) for size in chosen] == [sizes.choose(aspect) for aspect in aspects]
    assert longest == sizes.longest


@pytest.mark.parametrize("counted_as", ["", "aab\n\n", "\n\n\n\n\n"], ids=repr)
def test_confidence_is_that_of_the_card(page: Any, counted_as: str) -> None:
    rows = np.random.default_rng(5).dirichlet(np.ones(6) / 3, 7).astype(np.float32)
    own = WordConfidence(0.7, counted_as, 0.4)
    cooled = apply_temperature(rows, 1.3)
    wanted = own.scale(own.product(cooled), 6)
    code = """async ([rows, card]) => {
        const m = await import("./static/confidence.js");
        const flat = new Float32Array(rows.flat());
        m.applyTemperature(flat, 6, 1.3);
        const cooled = rows.map((_, index) => flat.subarray(6 * index, 6 * index + 6));
        const best = cooled.map((row) => row.indexOf(Math.max(...row)));
        const own = new m.WordConfidence(card);
        return own.scale(own.multiply(cooled, best), 6);
    }"""
    found = page.evaluate(code, [rows.tolist(), own.to_card()["confidence"]])
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("counted_as", ["", "aab\n\n", "\n\n\n\n\n"], ids=repr)
@pytest.mark.parametrize("word", [[], [1, 3], [1, 2, 1], [1, 1], [2, 1], [3, 3], [4, 1, 4, 1], [5]], ids=str)
def test_the_sum_over_paths_is_that_of_the_reader(page: Any, counted_as: str, word: list[int]) -> None:
    path = np.random.default_rng(6).dirichlet(np.ones(6) / 2, 9).astype(np.float32)
    own = WordConfidence(counted_as=counted_as, of_paths=True)
    code = """async ([rows, card, word]) => {
        const m = await import("./static/confidence.js");
        const own = new m.WordConfidence(card);
        return [own.ofPaths, own.sumPaths(rows, word)];
    }"""
    found = page.evaluate(code, [path.tolist(), own.to_card()["confidence"], word])
    assert found == [True, pytest.approx(own.path_probabilities(path[None], [word])[0], rel=1e-6)]


def test_text_that_runs_left_is_read_as_in_python(page: Any) -> None:
    """The order, and the bidirectional class of all characters that languages with such letters have."""
    others = "latin", "cyrillic", "el", "zh", "ja", "ko"
    languages = [each.charset for code, each in LANGUAGES.items() if each.direction == "rtl" or code in others]
    characters = sorted({*"abA 12309.,:/-+%$()[]«»٪€،\u200c\u0640۳١٢٣אבגדابجد\u064e", *"".join(languages)})
    few = [character for character in characters if bidirectional(character) != "L" or character.isascii()]
    draw = np.random.default_rng(8)
    several = [tuple(draw.choice(few, draw.integers(1, 13))) for _ in range(3000)]
    texts = ["".join(each) for each in several if bidirectional(each[0]) != "NSM"]
    code = """async ([texts, characters]) => {
        const m = await import("./static/direction.js");
        const both = [m.visualOrder, m.logicalOrder];
        const order = (line) => (text) => both.map((each) => each([...text], line).map(Object.values));
        return [texts.map(order("rtl")), texts.map(order("ltr")), characters.map(m.kindOf)];
    }"""
    rtl, ltr, kinds = page.evaluate(code, [texts, characters])
    letters = {"ES": "S", "ET": "T", "CS": "C", "NSM": "M", "EN": "E", "AN": "N", "AL": "A", "WS": "O", "ON": "O"}
    wanted = [letters.get(kind, kind if kind in ("L", "R") else "X") for kind in map(bidirectional, characters)]
    assert dict(zip(characters, kinds, strict=True)) == dict(zip(characters, wanted, strict=True))
    for line, found in (("rtl", rtl), ("ltr", ltr)):
        for text, (shown, read) in zip(texts, found, strict=True):
            assert shown == [*map(list, zip(visual_order(text, line), to_visual(text, line=line), strict=True))], text
            assert read == [*map(list, zip(logical_order(text, line), to_logical(text, line=line), strict=True))], text


def test_every_script_is_whole(page: Any) -> None:
    """Each can be loaded, but for those that begin to work then."""
    for path in sorted(Path(FOLDER).glob("*.js")):
        if path.stem not in ("app", "worker"):
            page.evaluate("(path) => import(path).then(() => true)", f"./static/{path.name}")
