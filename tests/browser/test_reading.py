"""The page in a real browser: Debian's Chromium, driven by playwright. It reads what Python reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_browser import CHROMIUM, browsing, serving_folder, visiting
from helpers_photo import PHOTOGRAPH, PHOTOGRAPHED
from PIL import ExifTags, Image, ImageDraw, ImageFont

from dptr import OCR
from dptr.browser import export_page
from dptr.inference.reader import Reader
from dptr.utils.errors import UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CROPS = sorted((GOLDEN / "crops").glob("*.png"))
LINES = GOLDEN.parent.parent / "models" / "dptr-en-lines"
FONT = GOLDEN / "Poppins-Regular.ttf"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as opened:
        yield opened


def write(folder: Path, model: str, **options: Any) -> Path:
    try:
        export_page(folder, model, **options)
    except UserError as error:
        if "npm" in str(error):
            pytest.skip(str(error))
        raise
    return folder


def save(page: Any) -> list[dict[str, Any]]:
    """The lines of the file that the page saves as JSON."""
    page.click("#save")
    with page.expect_download() as download:
        page.click("[data-style=json]")
    return [json.loads(line) for line in Path(download.value.path()).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("model", ["dptr-en-tiny", "dptr-en", "dptr-latin"])
def test_golden_crops_are_read_as_in_python(browser: Any, model: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "page", model, photographs=False)
    paths = [*CROPS, *(tmp_path / f"upside-down-{path.name}" for path in CROPS)]
    for upright, path in zip(CROPS, paths[len(CROPS) :], strict=True):
        Image.open(upright).transpose(Image.Transpose.ROTATE_180).save(path)
    with serving_folder(folder) as address, visiting(browser, address) as page:
        page.set_input_files("#files", paths)
        page.locator(".thumb:not(.waiting)").nth(len(paths) - 1).wait_for()
        found = save(page)
    readings = Reader(model).read(paths)
    assert any(own.turned == 180 for own in readings)
    for path, own, other in zip(paths, readings, found, strict=True):
        assert other["path"] == path.name
        assert (other["text"], other["turned"], other["runaway"]) == (own.text, own.turned, own.runaway)
        assert other["confidence"] == pytest.approx(own.confidence, abs=1e-4)
        assert "".join(character for character, _ in other["characters"]) == own.text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("browser") / "page", "dptr-en")


def test_a_photograph_is_read_as_in_python(browser: Any, folder: Path) -> None:
    with serving_folder(folder) as address, visiting(browser, address) as page:
        page.set_input_files("#files", PHOTOGRAPH)
        page.wait_for_selector("polygon")
        assert page.locator("#text p").all_inner_texts() == PHOTOGRAPHED.split("\n")
        page.click("#copy")
        page.get_by_text("Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == PHOTOGRAPHED
        (found,) = save(page)
    own = OCR("dptr-en")(PHOTOGRAPH).to_dict()
    assert found["text"] == own["text"] and (found["width"], found["height"]) == (own["width"], own["height"])
    for line, other in zip(own["lines"], found["lines"], strict=True):
        assert line["text"] == other["text"] and line["block"] == other["block"]
        assert other["angle"] == pytest.approx(line["angle"], abs=1)
        for word, seen in zip(line["words"], other["words"], strict=True):
            assert (word["text"], [each["text"] for each in seen["characters"]]) == (seen["text"], list(seen["text"]))
            assert seen["confidence"] == pytest.approx(word["confidence"], abs=0.05)  # JPEG is decoded by the browser
            assert np.abs(np.array(seen["box"]) - word["box"]).max() < 2


def test_lines_that_run_up_and_columns_are_read_as_in_python(browser: Any, folder: Path, tmp_path: Path) -> None:
    """A PNG, of which both see the same pixels."""
    picture = Image.new("RGB", (900, 640), "#e8e2d4")
    pen, font = ImageDraw.Draw(picture), ImageFont.truetype(FONT, 44)
    for column, words in enumerate(
        (("Opening hours", "Monday to Friday", "9:30 to 18:00"), ("Baker & Sons", "since 1897"))
    ):
        for row, text in enumerate(words):
            pen.text((60 + 430 * column, 60 + 64 * row), text, "#30302c", font)
    aside = Image.new("RGB", (330, 70), "#183a5c")
    ImageDraw.Draw(aside).text((20, 4), "Library", "white", font)
    picture.paste(aside.rotate(90, expand=True), (800, 290))
    picture.paste(aside.rotate(180), (120, 480))
    path = tmp_path / "columns.png"
    picture.save(path)
    with serving_folder(folder) as address, visiting(browser, address) as page:
        page.set_input_files("#files", path)
        page.wait_for_selector("polygon")
        (found,) = save(page)
    lines = OCR("dptr-en")(path).to_dict()["lines"]
    own = [line for line in lines if any(word["confidence"] >= 0.4 for word in line["words"])]
    assert [line["text"] for line in found["lines"]] == [line["text"] for line in own]
    assert [line["block"] for line in found["lines"]] == [line["block"] for line in own]
    assert sum(line["text"] == "Library" for line in own) == 2


def test_several_threads_compute_where_the_server_isolates_the_page(browser: Any, folder: Path) -> None:
    with serving_folder(folder, isolated=True) as address, visiting(browser, address) as page:
        page.set_input_files("#files", PHOTOGRAPH)
        page.wait_for_selector("polygon")
        assert page.evaluate("crossOriginIsolated")
        assert page.locator("#text p").all_inner_texts() == PHOTOGRAPHED.split("\n")


def test_pictures_are_upright_and_transparency_is_white(browser: Any, folder: Path, tmp_path: Path) -> None:
    upright = Image.open(CROPS[2]).convert("RGB")
    lying, exif = upright.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise
    lying.save(tmp_path / "lying.jpg", quality=95, exif=exif)
    clear = Image.new("LA", (220, 64), (255, 0))
    ImageDraw.Draw(clear).text((12, 4), "Garden", (0, 255), ImageFont.truetype(FONT, 44))
    clear.save(tmp_path / "clear.png")
    paths = [tmp_path / "lying.jpg", tmp_path / "clear.png"]
    with serving_folder(folder) as address, visiting(browser, address) as page:
        page.check("input[value=crop]", force=True)
        page.set_input_files("#files", paths)
        page.locator(".thumb:not(.waiting)").nth(1).wait_for()
        sides = page.locator("#sheet svg").get_attribute("viewBox")
        found = save(page)
    assert sides == f"0 0 {upright.width} {upright.height}"
    for own, other in zip(Reader("dptr-en").read(paths), found, strict=True):
        assert (other["text"], other["turned"]) == (own.text, own.turned)
        assert other["confidence"] == pytest.approx(own.confidence, abs=0.01)
    assert [other["text"] for other in found] == ["Market", "Garden"]


def test_what_fails_is_told_and_the_rest_is_read(browser: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "<b>none.png").write_bytes(b"no picture")
    with serving_folder(folder) as address, visiting(browser, address) as page:
        page.check("input[value=crop]", force=True)
        page.set_input_files("#files", [tmp_path / "<b>none.png", CROPS[2]])
        page.locator(".thumb:not(.waiting)").nth(1).wait_for()
        assert "does not open it as a picture" in page.locator("#text").inner_text()
        assert page.locator("#title").inner_text() == "<b>none.png"
        page.keyboard.press("PageDown")
        assert page.locator("#text").inner_text() == "Market"
        page.click("#clear")
        assert page.locator("#welcome").is_visible()


def test_a_page_that_is_not_whole_says_so(browser: Any, folder: Path) -> None:
    with serving_folder(folder) as address:
        page = browser.new_context().new_page()  # a file that is missing is an error to the console
        page.route("**/models/recognizer.onnx", lambda route: route.fulfill(status=404))
        page.goto(address)
        page.set_input_files("#files", CROPS[2])
        page.wait_for_selector("#text .error", timeout=60_000)
        assert "models/recognizer.onnx could not be loaded (404)" in page.locator("#text").inner_text()
        page.unroute("**/models/recognizer.onnx")
        page.click("#clear")
        page.check("input[value=crop]", force=True)
        page.set_input_files("#files", CROPS[2])  # is tried again
        page.wait_for_selector(".word", timeout=60_000)
        page.reload()
        page.route("**/static/worker.js", lambda route: route.abort())
        page.set_input_files("#files", CROPS[2])
        page.wait_for_selector("#text .error", timeout=60_000)
        assert "Check the connection, and try again" in page.locator("#text").inner_text()
        page.context.close()


def test_by_keyboard_and_on_a_phone(browser: Any, folder: Path) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    with serving_folder(folder) as address, visiting(browser, address, **phone) as page:
        assert page.locator("#photograph").is_visible()
        page.focus("input[name=mode]:checked")
        page.keyboard.press("ArrowRight")
        page.set_input_files("#camera", CROPS[2])
        page.wait_for_selector("polygon")
        page.focus("#text")
        page.keyboard.press("ArrowDown")
        assert page.locator(".word.at").inner_text() == "Market"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, folder: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check(page: Any, where: str) -> None:
        found = axe.run(page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert not serious, f"{where}: {[(each['id'], each['nodes'][0]['html']) for each in serious]}"

    options = {"color_scheme": scheme, "reduced_motion": "reduce", "bypass_csp": True}
    with serving_folder(folder) as address, visiting(browser, address, **options) as page:
        check(page, "empty")
        page.click("#about-open")
        check(page, "about")
        page.keyboard.press("Escape")
        page.check("input[value=crop]", force=True)
        page.set_input_files("#files", CROPS[2:4])
        page.locator(".thumb:not(.waiting)").nth(1).wait_for()
        check(page, "read")
        page.click("#save")
        check(page, "menu")


@pytest.mark.timeout(900)  # exports a model first
def test_a_model_of_several_sizes_that_writes_spaces_is_read_as_in_python(browser: Any, tmp_path: Path) -> None:
    """Sizes, charset, and confidence come from the file: crops, and lines that are read whole beside their words."""
    pytest.importorskip("onnxscript")
    from dptr.export import export

    file = tmp_path / "lines.onnx"
    export(LINES, file, count=8)
    folder = write(tmp_path / "page", str(file))
    with serving_folder(folder) as address, visiting(browser, address) as page:
        page.check("input[value=crop]", force=True)
        page.set_input_files("#files", CROPS)
        page.locator(".thumb:not(.waiting)").nth(len(CROPS) - 1).wait_for()
        crops = save(page)
        page.click("#clear")
        page.check("input[value=photograph]", force=True)
        page.locator("#threshold").evaluate("each => { each.value = 0; each.dispatchEvent(new Event('input')); }")
        page.set_input_files("#files", PHOTOGRAPH)
        page.wait_for_selector("polygon")
        (photograph,) = save(page)
    for own, other in zip(Reader(file).read(CROPS), crops, strict=True):
        assert (other["text"], other["turned"]) == (own.text, own.turned)
        assert other["confidence"] == pytest.approx(own.confidence, abs=1e-4)
    assert photograph["text"] == OCR(file)(PHOTOGRAPH).text
