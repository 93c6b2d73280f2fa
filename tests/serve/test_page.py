"""The page in a real browser: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers_browser import NEEDS_CHROMIUM, serving, visiting
from helpers_photo import PHOTOGRAPH, PHOTOGRAPHED, make_pdf, show
from helpers_photo import page as make_page
from helpers_serve import CROPS, find_all

from dptr.inference.reader import Reader
from dptr.photo.detect import open_detector
from dptr.photo.ocr import OCR
from dptr.photo.pdf import Pdf
from dptr.photo.run import keep_confident

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>{{7*7}}\'"&amp;'
TOKEN = "a-secret-of-the-tests"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as where:
        yield where


def test_from_a_picture_to_its_text(browser: Any) -> None:
    with serving(open_detector("ppocr")) as address, visiting(browser, address) as page:
        page.set_input_files("#files", PHOTOGRAPH)
        page.wait_for_selector("polygon")
        lines = PHOTOGRAPHED.split("\n")
        assert page.locator("#text p").all_inner_texts() == lines
        assert page.locator("polygon").count() == 6
        page.click("#copy")
        page.get_by_text("Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == PHOTOGRAPHED
        page.hover("#text .word >> nth=3")
        (marked,) = page.locator("polygon.at").all()
        box = marked.bounding_box()
        page.mouse.move(5, 5)
        assert page.locator(".at").count() == 0
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert page.locator(".word.at").inner_text() == "daily"
        saved = {}
        for style, name in (("json", "photograph.json"), ("hocr", "photograph.hocr"), ("pdf", "photograph.pdf")):
            page.click("#save")
            with page.expect_download() as download:
                page.click(f"[data-style={style}]")
            assert download.value.suggested_filename == name
            saved[style] = Path(download.value.path()).read_bytes()
        assert json.loads(saved["json"])["text"] == PHOTOGRAPHED
        assert saved["hocr"].count(b"ocrx_word") == 6 + 1  # and once in the head
        with Pdf(saved["pdf"], "saved") as pdf:
            read = pdf.read(1, 200)
            assert read is not None and read.text.split() == PHOTOGRAPHED.split()


def test_the_page_leaves_out_what_the_command_leaves_out(browser: Any, address: str) -> None:
    """Words that are not sure, with the boxes of their lines, also from right to left and where a number is first."""
    whole = make_page("one two three", "שלום 12 עולם", "שלום 12 עולם", "four")
    unsure = {0: {0}, 1: {0}, 2: {0, 1}, 3: {0}}
    lines = [
        replace(line, words=tuple(replace(word, confidence=0.1) if place in unsure[number] else word for place, word in
                                  enumerate(line.words)))
        for number, line in enumerate(whole.lines)
    ]  # fmt: skip
    shown = replace(whole, lines=tuple(lines))
    kept, low = keep_confident(shown, 0.4)
    with visiting(browser, address) as page:
        script = "async (page) => (await import('/static/page.js')).filterWords(page, 0.4)"
        assert page.evaluate(script, shown.to_dict()) == {**kept.to_dict(), "left_out": low}


def test_several_pages_and_what_fails(browser: Any, address: str, tmp_path: Path) -> None:
    (tmp_path / "two.pdf").write_bytes(make_pdf([show("one", 20, 12), show("two", 20, 12)], box="0 0 80 40"))
    with visiting(browser, address) as page:
        page.set_input_files("#files", [CROPS / "clean.png", tmp_path / "two.pdf"])
        page.locator(".thumb:not(.waiting) >> nth=2").wait_for()
        assert page.locator("#title").inner_text() == "clean.png"
        page.locator(".thumb").nth(2).click()
        assert page.locator("#title").inner_text() == "two.pdf, page 2"
        assert page.locator("#sheet img").evaluate("image => image.naturalWidth") == 223  # drawn by the server
        page.keyboard.press("PageUp")
        assert page.locator("#title").inner_text() == "two.pdf, page 1"
        page.click("#options-open")
        page.check("input[value=lexicon]", force=True)
        page.fill("#lexicon", "Market\nBasket")
        page.click("#options-use")
        page.locator(".thumb:not(.waiting) >> nth=2").wait_for()
        assert page.locator("#title").inner_text() == "two.pdf, page 1"  # as before
        assert page.locator("#text").inner_text() == "No text found."
        page.locator(".thumb").nth(0).click()
        assert page.locator("#text").inner_text() == "Market"
        page.click("#clear")
        assert page.locator("#welcome").is_visible()


def test_a_language_is_chosen(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"dptr-en": ("en", "fr"), "dptr-en-tiny": ("cy",)}
    for where in ("dptr.serve.recognizers", "dptr.inference.zoo"):
        monkeypatch.setattr(f"{where}.read_languages", lambda: held)
    with serving() as address, visiting(browser, address) as page:
        page.set_input_files("#files", CROPS / "clean.png")
        page.wait_for_selector("polygon")
        page.click("#options-open")
        names = page.locator("#language option").all_inner_texts()
        assert names == ["Whatever the model reads", "By the script that it shows", "English", "French", "Welsh"]
        page.select_option("#language", "fr")
        assert page.locator("#about").inner_text() == "dptr-en reads it." and page.locator("#model").is_hidden()
        with page.expect_response("**/v1/ocr") as answer:
            page.click("#options-use")
        (line,) = answer.value.json()["pages"][0]["lines"]
        (expected,) = OCR(reader=Reader("dptr-en"), detector=find_all)(CROPS / "clean.png").words
        assert line["words"][0]["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
        page.wait_for_selector("polygon")
        assert page.locator("#chosen").inner_text() == "French"


def test_each_line_is_read_by_its_script(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.inference.zoo.find_packages", dict)
    crops = Path(__file__).resolve().parents[1] / "golden" / "recognizers"
    with serving() as address, visiting(browser, address) as page:
        page.set_input_files("#files", crops / "cyrillic-0.png")
        page.locator("#text", has_text="No text found").wait_for()  # the model of Latin letters is not sure of anything
        page.click("#options-open")
        page.select_option("#language", "auto")
        assert "recognizer of its script" in page.locator("#about").inner_text() and page.locator("#model").is_hidden()
        page.click("#options-use")
        page.locator("#text", has_text="Cyrillic letters: no recognizer that reads them is installed").wait_for()
        assert page.locator("#chosen").inner_text() == "By the script that it shows"


def fulfill(content: str, route: Any) -> None:
    route.fulfill(body=content, content_type="application/json")


def test_nothing_that_was_read_or_named_becomes_html(browser: Any, address: str) -> None:
    word = {"text": HOSTILE, "confidence": 0.9, "box": [[0, 0], [50, 0], [50, 20], [0, 20]], "characters": []}
    line = {"text": HOSTILE, "box": word["box"], "angle": 0, "block": 0, "words": [word]}
    told = {"schema": 1, "source": HOSTILE, "page": 1, "width": 60, "height": 40, "text": HOSTILE, "lines": [line]}
    with visiting(browser, address) as page:
        for answer in ({"pages": [told], "errors": []}, {"pages": [], "errors": [{"error": HOSTILE}]}):
            page.route("**/v1/ocr", partial(fulfill, json.dumps(answer)))
            file = {"name": f"{HOSTILE}.png", "mimeType": "image/png", "buffer": (CROPS / "clean.png").read_bytes()}
            page.set_input_files("#files", [file])
            page.wait_for_selector("#text p")
            assert page.locator("#text p").inner_text() == HOSTILE
            assert page.locator("#title").inner_text().startswith("<img src=x")
            assert page.locator("#text img, #text script, #title *, #strip script").count() == 0
            page.click("#clear")
        assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, address: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check(page: Any, where: str) -> None:
        found = axe.run(page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert not serious, f"{where}: {[(each['id'], each['nodes'][0]['html']) for each in serious]}"

    with visiting(browser, address, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True) as page:
        check(page, "empty")
        page.set_input_files("#files", [CROPS / "clean.png", CROPS / "digits.png"])
        page.locator(".thumb:not(.waiting) >> nth=1").wait_for()
        check(page, "read")
        page.click("#save")
        check(page, "menu")
        page.keyboard.press("Escape")
        page.click("#options-open")
        check(page, "options")
        page.goto(f"{address}/docs")
        page.wait_for_selector(".route")
        check(page, "docs")


def test_by_keyboard_and_on_a_phone(browser: Any, address: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    with visiting(browser, address, **phone) as page:
        assert page.locator("#photograph").is_visible()
        page.set_input_files("#camera", CROPS / "clean.png")
        page.wait_for_selector("polygon")
        page.focus("#text")
        page.keyboard.press("ArrowDown")
        assert page.locator(".word.at").inner_text() == "Market"
        assert page.locator("polygon.at").count() == 1
        assert "Market" in page.locator("#detail").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.focus("#save")
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.dataset.style") == "json"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.id") == "save"


def test_a_picture_from_the_clipboard_and_one_that_is_dropped(browser: Any, address: str) -> None:
    content = list((CROPS / "clean.png").read_bytes())
    event = """([kind, key, content]) => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(content)], "held.png", { type: "image/png" }));
        document.dispatchEvent(Object.assign(new Event(kind, { bubbles: true, cancelable: true }), { [key]: held }));
    }"""
    with visiting(browser, address) as page:
        for kind, key in (("paste", "clipboardData"), ("drop", "dataTransfer")):
            dispatched = event.replace("document.dispatchEvent", "document.body.dispatchEvent")
            page.evaluate(dispatched, [kind, key, content])
            page.wait_for_selector(".word")
            assert page.locator(".word").inner_text() == "Market"
            page.click("#clear")


def test_the_page_asks_for_a_token(browser: Any) -> None:
    with serving(tokens=(TOKEN,)) as address:
        page = browser.new_context().new_page()  # 401 is an error to the console
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.set_input_files("#files", CROPS / "clean.png")
        page.fill("#token", "none of them")
        page.keyboard.press("Enter")
        page.locator("#ask[open]").wait_for()
        page.wait_for_timeout(300)
        assert len(asked) < 20  # nothing is asked for again and again
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("polygon")
        assert page.locator(".word").inner_text() == "Market"
        page.context.close()
