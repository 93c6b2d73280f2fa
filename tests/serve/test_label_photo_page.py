"""Whole photographs in a real browser: words are drawn, boxes changed and taken away; and a sample is checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers_browser import NEEDS_CHROMIUM, serving, visiting
from helpers_label import SIZE, make_set, proposal, save_photo
from helpers_photo import PHOTOGRAPH, PHOTOGRAPHED
from helpers_serve import tiny

from dptr.label.finder import Finder
from dptr.label.item import Item
from dptr.label.propose import propose
from dptr.label.store import Store
from dptr.photo.detect import open_detector
from dptr.photo.ocr import OCR
from dptr.serve.labeling import Labeling

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
MISSED = "daily"


@contextmanager
def labeling(store: Store) -> Iterator[str]:
    with serving(labeling=Labeling(Finder(store, threshold=2), 10_000_000)) as address:
        yield address


@pytest.fixture(scope="module")
def ocr() -> OCR:
    return OCR(reader=tiny(), detector=open_detector("ppocr"))


@pytest.fixture
def missing(tmp_path: Path, ocr: OCR) -> tuple[Store, Item]:
    """A photograph of which one word was missed, and what is known of that word."""
    store = Store(tmp_path / "set")
    propose(store, [str(PHOTOGRAPH)], ocr, threshold=2)
    (item,) = [item for item in store.each() if item.text == MISSED]
    store.remove(item.id, 1)
    assert len(store.words_of(1)) == len(PHOTOGRAPHED.split()) - 1
    return store, item


def corners(page: Any, item: Item) -> tuple[float, float, float, float]:
    """Where a word is on the screen: left, top, right, bottom."""
    box = page.locator("#photo-stage img").bounding_box()
    xs, ys = zip(*item.outline, strict=True)
    across, down = box["width"] / item.photo.width, box["height"] / item.photo.height
    return (
        box["x"] + min(xs) * across, box["y"] + min(ys) * down, box["x"] + max(xs) * across, box["y"] + max(ys) * down
    )  # fmt: skip


def drag(page: Any, place: tuple[float, float, float, float]) -> None:
    page.mouse.move(place[0], place[1])
    page.mouse.down()
    page.mouse.move(place[2], place[3], steps=6)
    page.mouse.up()


def written(page: Any, text: str) -> None:
    """Wait until a word is chosen."""
    page.wait_for_function("text => document.getElementById('photo-text').value === text", arg=text, timeout=15_000)


def words(store: Store) -> list[tuple[str, str]]:
    return [(item.text, item.state) for item in store.words_of(1)]


def test_a_missed_word_is_drawn_by_mouse_and_its_box_is_changed(browser: Any, missing: tuple[Store, Item]) -> None:
    store, item = missing
    with labeling(store) as address, visiting(browser, address, "/label") as page:
        page.click("#whole")
        page.wait_for_selector("#photo-stage polygon")
        assert page.locator("#photo-stage polygon.other").count() == 5
        drag(page, corners(page, item))
        written(page, MISSED)
        assert words(store)[-1] == (MISSED, "open")  # read, and saved at once
        page.keyboard.type("Daily!")
        page.keyboard.press("Enter")
        page.locator("#photo-word").wait_for(state="hidden")
        assert words(store)[-1] == ("Daily!", "labeled")
        left, top, right, bottom = corners(page, item)
        page.mouse.click((left + right) / 2, (top + bottom) / 2)
        written(page, "Daily!")
        corner = page.locator("#photo-stage circle >> nth=2").bounding_box()
        at = corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2
        before = store.words_of(1)[-1]
        with page.expect_response("**/v1/label/items/*"):
            drag(page, (*at, at[0] + 30, at[1] + 12))
        after = store.words_of(1)[-1]
        assert after.outline[0] == before.outline[0] and after.outline[2][0] > before.outline[2][0] + 10
        assert (after.text, after.state, after.version) == ("Daily!", "labeled", before.version + 1)
        page.mouse.click(*(each + 3 for each in corners(page, item)[:2]))  # still the same word
        box = page.locator("#photo-stage img").bounding_box()
        page.mouse.click(box["x"] + 4, box["y"] + 4)  # no word: nothing is chosen, and nothing drawn
        page.locator("#photo-word").wait_for(state="hidden")
        page.click("#view-label")
        page.wait_for_function("() => document.getElementById('count-labeled').textContent === '1'")
        assert len(words(store)) == 6
        page.reload()
        page.click("#view-photo")
        page.wait_for_selector("#photo-stage polygon.labeled")


def test_by_keyboard_a_word_is_drawn_chosen_moved_removed_and_put_back(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.1, "open"), ("two", 0.2, "open"))
    before = store.get(1).outline
    with labeling(store) as address, visiting(browser, address, "/label") as page:
        page.wait_for_selector("#around polygon")
        page.focus("#around")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.wait_for_function("() => !document.getElementById('reset').hidden")
        moved = store.get(1)
        assert moved.version == 2 and moved.outline[0][0] > before[0][0] + 2 and moved.outline[0][1] == before[0][1]
        page.click("#view-photo")
        page.wait_for_selector("#photo-stage polygon")
        page.focus("#photo-stage")
        page.keyboard.press("n")
        page.keyboard.press("ArrowDown")
        for _ in range(4):
            page.keyboard.press("Shift+ArrowRight")
        with page.expect_response("**/photos/1/words"):
            page.keyboard.press("Enter")
        page.wait_for_function("() => document.activeElement.id === 'photo-text'")
        assert len(words(store)) == 3 and words(store)[-1][1] == "open"
        page.keyboard.type("drawn")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.activeElement.id === 'photo-stage'")
        drawn = store.words_of(1)[-1]
        assert (drawn.text, drawn.state) == ("drawn", "labeled")
        page.keyboard.press("PageDown")
        page.locator("#photo-word").wait_for()
        page.keyboard.press("PageUp")
        written(page, "drawn")
        page.focus("#photo-stage")
        with page.expect_response("**/remove"):
            page.keyboard.press("Delete")
        page.locator("#photo-undo").wait_for()
        assert [text for text, _ in words(store)][1:] == ["two"]
        page.click("#photo-undo")
        page.locator("#photo-undo").wait_for(state="hidden")
        page.wait_for_function("() => document.getElementById('photo-sure').textContent === 'labeled'")
        again = store.words_of(1)[-1]
        assert (again.id, again.text, again.state, again.outline) == (drawn.id, "drawn", "labeled", drawn.outline)


def touch(page: Any, *moments: list[tuple[float, float]]) -> None:
    """Fingers on the screen, moment by moment; they leave it at the end."""
    session = page.context.new_cdp_session(page)
    for number, points in enumerate([*moments, []]):
        kind = "touchEnd" if not points else "touchStart" if number == 0 else "touchMove"
        fingers = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})


def test_a_missed_word_is_drawn_by_touch_on_a_phone_and_two_fingers_zoom(
    browser: Any, missing: tuple[Store, Item]
) -> None:
    store, item = missing
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    with labeling(store) as address, visiting(browser, address, "/label", **phone) as page:
        page.wait_for_selector("#around polygon")
        page.tap("#view-photo")
        page.wait_for_selector("#photo-stage polygon")
        wide = page.locator("#photo-stage img").bounding_box()["width"]
        touch(page, [(150, 400), (200, 400)], [(130, 400), (230, 400)], [(110, 400), (260, 400)])
        assert page.locator("#photo-stage img").bounding_box()["width"] > 2 * wide
        assert len(words(store)) == 5 and page.locator("#photo-word").is_hidden()
        page.tap("#photo-fit")
        left, top, right, bottom = corners(page, item)
        touch(page, [(left, top)], [((left + right) / 2, (top + bottom) / 2)], [(right, bottom)])
        written(page, MISSED)
        page.wait_for_timeout(500)  # Chromium may take a tap right after a touch for the second of two
        page.tap("#photo-form .main")
        page.locator("#photo-word").wait_for(state="hidden")
        assert words(store)[-1] == (MISSED, "labeled")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_photographs_without_any_word_can_be_drawn_on(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path)
    store.add(save_photo(tmp_path / "<b>.png", 1), 1, SIZE, [proposal("other")])
    with labeling(store) as address, visiting(browser, address, "/label") as page:
        page.click("#view-photo")
        page.wait_for_selector("#photo-stage img")
        assert page.locator("#photo-name").inner_text() == "<b>.png" and page.locator("#photo-after").is_disabled()
        page.click("#photo-before")
        page.wait_for_function("() => document.getElementById('photo-name').textContent === 'a.png'")
        assert page.locator("#photo-counts").inner_text() == "0 words"
        box = page.locator("#photo-stage img").bounding_box()
        drag(page, (box["x"] + 20, box["y"] + 20, box["x"] + 120, box["y"] + 60))
        page.locator("#photo-word").wait_for()
        assert len(words(store)) == 1


def test_a_box_goes_to_the_photograph_that_it_was_drawn_on(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path)
    store.add(save_photo(tmp_path / "b.png", 1), 1, SIZE, [])
    with labeling(store) as address, visiting(browser, address, "/label") as page:
        held: list[Any] = []
        page.route("**/photos/1/words", lambda route: route.continue_() if held else held.append(route))
        page.click("#view-photo")
        page.wait_for_selector("#photo-stage img")
        box = page.locator("#photo-stage img").bounding_box()
        for left in (20, 180):  # the second waits for the first to be read
            drag(page, (box["x"] + left, box["y"] + 20, box["x"] + left + 100, box["y"] + 60))
        page.click("#photo-after")
        page.wait_for_function("() => document.getElementById('photo-name').textContent === 'b.png'")
        answers: list[Any] = []
        page.on("response", lambda response: answers.append(response) if response.url.endswith("/words") else None)
        held[0].continue_()
        while len(answers) < 2:
            page.wait_for_timeout(20)
        assert (len(store.words_of(1)), len(store.words_of(2))) == (2, 0)


def test_the_second_of_two_people_sees_what_the_first_did(browser: Any, tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.1, "open"))
    with labeling(store) as address:
        page = browser.new_context().new_page()  # 409 is an error to the console
        page.goto(f"{address}/label")
        page.click("#view-photo")
        page.wait_for_selector("#photo-stage polygon")
        page.focus("#photo-stage")
        page.keyboard.press("PageDown")
        written(page, "one")
        store.change(1, 1, "first", "labeled")
        page.click("#photo-remove")
        page.locator("#photo-problem", has_text="somebody else").wait_for()
        written(page, "first")
        assert words(store) == [("first", "labeled")]
        page.context.close()


def test_a_sample_of_the_accepted_words_is_checked(browser: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "set")
    path = save_photo(tmp_path / "a.png")
    store.add(path, 1, SIZE, [proposal(f"word{number}", 0.995, "sure") for number in range(60)])
    with labeling(store) as address, visiting(browser, address, "/label") as page:
        page.click("[data-state=sure]")
        page.get_by_text("How many of them are wrong?").wait_for()
        page.click("#check-more")
        page.wait_for_function("() => document.getElementById('count-check').textContent === '50'")
        sample = [text for _, text in store.note("check")["words"]]
        for number, text in enumerate(sample[:4]):
            page.wait_for_function("text => document.getElementById('text').value === text", arg=text)
            if number == 1:
                page.keyboard.type("another")
            page.keyboard.press("Escape" if number == 3 else "Enter")
        result = page.locator("#check-result")
        result.filter(has_text="1 of 3 checked words is wrong: 33 %").wait_for()
        result.filter(has_text="1 more is illegible").filter(has_text="95 % confidence").wait_for()
        assert page.locator("#count-check").inner_text() == "46"
        page.click("[data-state=sure]")
        page.click("#check-go")
        page.wait_for_function("text => document.getElementById('text').value === text", arg=sample[4])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, tmp_path: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    store = make_set(tmp_path, ("one", 0.1, "open"), ("two", 0.995, "sure"))
    options = {"color_scheme": scheme, "reduced_motion": "reduce", "bypass_csp": True}
    with labeling(store) as address, visiting(browser, address, "/label", **options) as page:
        for step in ("[data-state=sure]", "#check-more", "#view-photo"):
            page.click(step)
            page.wait_for_timeout(400)
            found = axe.run(page).response["violations"]
            serious = [each for each in found if each["impact"] in ("serious", "critical")]
            assert not serious, f"{step}: {[(each['id'], each['nodes'][0]['html']) for each in serious]}"
        page.focus("#photo-stage")
        page.keyboard.press("PageDown")
        page.locator("#photo-word").wait_for()
        found = axe.run(page).response["violations"]
        assert not [each["id"] for each in found if each["impact"] in ("serious", "critical")]
