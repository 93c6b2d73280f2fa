"""The page of labeling in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers_browser import NEEDS_CHROMIUM, serving, visiting
from helpers_label import fake_training, make_set, make_words
from helpers_photo import PHOTOGRAPH, PHOTOGRAPHED
from helpers_serve import CROPS

from dptr.label.finder import Finder
from dptr.label.store import Store
from dptr.photo.detect import open_detector
from dptr.serve.labeling import Labeling

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
TOKEN = "a-secret-of-the-tests"
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
WORDS = [("one", 0.1, "open"), ("two", 0.2, "open"), ("three", 0.3, "open"), ("four", 0.4, "open"), ("ok", 1.0, "sure")]


@contextmanager
def labeling(store: Store, **options: Any) -> Iterator[str]:
    with serving(labeling=Labeling(Finder(store, threshold=2), 10_000_000), **options) as address:
        yield address


def shown(page: Any, text: str) -> None:
    """Wait until a word is asked about."""
    page.wait_for_function("text => document.getElementById('text').value === text", arg=text, timeout=15_000)


def told(store: Store) -> dict[str, str]:
    return {item.proposed: f"{item.text} {item.state}" for item in store.each()}


def test_words_are_accepted_corrected_and_marked_by_keyboard(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path, *WORDS)  # type: ignore[arg-type]
    with labeling(store) as address, visiting(browser, address, "/label") as page:
        shown(page, "one")
        page.wait_for_selector("#around polygon")
        page.keyboard.press("Enter")
        shown(page, "two")
        page.keyboard.type("zwei")
        page.wait_for_timeout(600)
        assert told(store)["two"] == "zwei open"  # what is being written is saved too
        page.keyboard.press("Enter")
        shown(page, "three")
        page.keyboard.press("Escape")
        shown(page, "four")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        shown(page, "zwei")
        page.keyboard.type("due")
        page.keyboard.press("Enter")
        shown(page, "three")
        page.keyboard.press("ArrowDown")
        shown(page, "four")
        page.keyboard.press("ArrowDown")
        page.get_by_text("1 word waits").wait_for()
        page.click("#again")
        shown(page, "four")
        page.wait_for_function("() => document.getElementById('count-labeled').textContent === '2'")
        assert told(store) == {
            "one": "one labeled", "two": "due labeled", "three": "three illegible", "four": "four open", "ok": "ok sure"
        }  # fmt: skip
        page.reload()
        shown(page, "four")
        page.click("[data-state=sure]")
        shown(page, "ok")
        page.click("[data-state=illegible]")
        shown(page, "three")
        assert "4 of 5 words done" in page.locator("#progress").inner_text()


def test_a_box_is_dragged_and_put_back(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path, *WORDS[:1])  # type: ignore[arg-type]
    before = store.get(1).outline
    with labeling(store) as address, visiting(browser, address, "/label") as page:
        page.wait_for_selector("#around polygon")
        corner = page.locator("#around circle >> nth=2").bounding_box()
        page.mouse.move(corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2)
        page.mouse.down()
        page.mouse.move(corner["x"] + 60, corner["y"] + 40, steps=5)
        page.mouse.up()
        page.locator("#reset").wait_for()
        after = store.get(1).outline
        assert after[:2] == before[:2] and after[3] == before[3] and after[2][0] > before[2][0] + 5
        page.click("#reset")
        page.locator("#reset").wait_for(state="hidden")
        assert store.get(1).outline == before and store.get(1).version == 3


def test_the_second_of_two_people_sees_what_the_first_wrote(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path, *WORDS[:2])  # type: ignore[arg-type]
    with labeling(store) as address:
        page = browser.new_context().new_page()  # 409 is an error to the console
        page.goto(f"{address}/label")
        shown(page, "one")
        store.change(1, 1, "first", "labeled")
        page.keyboard.type("second")
        page.keyboard.press("Enter")
        page.get_by_text("somebody else").first.wait_for()
        shown(page, "first")
        assert store.get(1).text == "first"
        page.keyboard.type("second")
        page.keyboard.press("Enter")
        shown(page, "two")
        page.wait_for_timeout(300)
        assert store.get(1).text == "second"
        page.context.close()


def test_a_word_that_cannot_be_saved_is_shown_again_as_it_was_written(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path, *WORDS[:2])  # type: ignore[arg-type]
    with labeling(store) as address:
        page = browser.new_context().new_page()  # 507 is an error to the console
        page.goto(f"{address}/label")
        shown(page, "one")
        told = '{"error": "label.db: the disk is full; free space and save again"}'
        page.route("**/v1/label/items/1", lambda route: route.fulfill(status=507, body=told), times=1)
        page.keyboard.type("written")
        page.keyboard.press("Enter")
        page.locator("#problem", has_text="free space and save again").wait_for()
        shown(page, "written")
        page.keyboard.press("Enter")
        shown(page, "two")
        page.wait_for_function("() => document.getElementById('count-labeled').textContent === '1'")
        assert store.get(1).text == "written"
        page.context.close()


def test_nothing_that_is_labeled_or_named_becomes_html(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path)
    hostile = tmp_path / "<img src=x onerror=hit()>.png"
    hostile.write_bytes((CROPS / "clean.png").read_bytes())
    with labeling(store) as address, visiting(browser, address, "/label") as page:
        page.get_by_text("No words yet").wait_for()
        page.set_input_files("#files", hostile)
        shown(page, "Market")
        assert page.locator("#source").inner_text() == hostile.name
        page.keyboard.type(HOSTILE)
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('count-labeled').textContent === '1'")
        page.click("[data-state=labeled]")
        shown(page, HOSTILE)
        page.keyboard.type("x")
        assert page.locator("main script, #sure *, #source *").count() == 0
        assert page.evaluate("window.hit") is None


def test_photographs_are_added_on_a_phone(browser: Any, tmp_path: Path) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    empty = labeling(make_set(tmp_path), detector=open_detector("ppocr"))
    with empty as address, visiting(browser, address, "/label", **phone) as page:
        page.get_by_text("No words yet").wait_for()
        page.set_input_files("#files", PHOTOGRAPH)
        page.wait_for_selector("#around polygon")
        words = set(PHOTOGRAPHED.split())
        for _ in range(6):
            text = page.locator("#text").input_value()
            words.remove(text)
            page.tap("#accept")
            page.wait_for_function("text => document.getElementById('text').value !== text || work.hidden", arg=text)
        page.get_by_text("All done").wait_for()
        assert not words and page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, tmp_path: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    store = make_set(tmp_path, *WORDS)  # type: ignore[arg-type]
    options = {"color_scheme": scheme, "reduced_motion": "reduce", "bypass_csp": True}
    with labeling(store) as address, visiting(browser, address, "/label", **options) as page:
        page.wait_for_selector("#around polygon")
        for state in ("open", "illegible"):
            page.click(f"[data-state={state}]")
            page.wait_for_timeout(300)
            found = axe.run(page).response["violations"]
            serious = [each for each in found if each["impact"] in ("serious", "critical")]
            assert not serious, f"{state}: {[(each['id'], each['nodes'][0]['html']) for each in serious]}"


def test_the_page_asks_for_a_token_once(browser: Any, tmp_path: Path) -> None:
    with labeling(make_set(tmp_path, *WORDS), tokens=(TOKEN,)) as address:  # type: ignore[arg-type]
        page = browser.new_context().new_page()  # 401 is an error to the console
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/label")
        page.locator("#ask[open]").wait_for()
        page.wait_for_timeout(6000)
        assert sum("/v1/" in url for url in asked) <= 3
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        shown(page, "one")
        page.wait_for_selector("#around polygon")
        page.context.close()


def test_the_page_of_reading_leads_here(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path, *WORDS)  # type: ignore[arg-type]
    with labeling(store) as address, visiting(browser, address, viewport={"width": 390, "height": 844}) as page:
        page.set_input_files("#files", CROPS / "clean.png")
        page.wait_for_selector("polygon")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.click("#label")
        shown(page, "one")


def test_a_training_is_begun_stopped_resumed_and_used(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a program that does not train, but leaves what a training does."""
    monkeypatch.setattr("dptr.label.trainings.COMMAND", fake_training(tmp_path))
    with labeling(make_words(tmp_path)) as address, visiting(browser, address, "/label") as page:
        page.click("#view-train")
        page.fill("#words", "slow words")
        page.fill("#minutes", "1")
        page.click("#adapt")
        page.get_by_text("50.0 %").wait_for()
        assert page.locator("#phase").inner_text() == "Training …" and page.locator("#train").is_disabled()
        page.click("#stop")
        page.locator("#phase.stopped").wait_for()
        (tmp_path / "set" / "runs" / "1" / "words.txt").write_text("quick\n")
        page.click("#resume")
        page.locator("#phase.done").wait_for()
        assert "6 labeled crops. 0 of them are read otherwise" in page.locator("#compared-summary").inner_text()
        page.click("#use")
        page.get_by_text("set-1 reads from now on").wait_for()
        page.click("#train")
        page.get_by_text("2: labels, done").wait_for(state="attached")
        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename == "set-2.onnx"
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_axe_finds_no_serious_fault_in_training(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    monkeypatch.setattr("dptr.label.trainings.COMMAND", fake_training(tmp_path))
    with labeling(make_words(tmp_path)) as address, visiting(browser, address, "/label", bypass_csp=True) as page:
        page.click("#view-train")
        page.click("#train")
        page.locator("#phase.done").wait_for()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = axe.run(page).response["violations"]
            serious = [each for each in found if each["impact"] in ("serious", "critical")]
            assert not serious, f"{scheme}: {[(each['id'], each['nodes'][0]['html']) for each in serious]}"
