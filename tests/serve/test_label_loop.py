"""The whole loop in a real browser, with the default recognizer: photographs, labels, a training, and ONNX in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers_browser import NEEDS_CHROMIUM, serving, visiting
from helpers_photo import PHOTOGRAPH, PHOTOGRAPHED
from helpers_serve import CROPS

from dptr.inference.reader import Reader
from dptr.label.finder import Finder
from dptr.label.store import Store
from dptr.photo.detect import open_detector
from dptr.serve.labeling import Labeling
from dptr.weights import DEFAULT_MODEL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), NEEDS_CHROMIUM]
WORDS = {"bread": "BREAD", "daily": "Dairy"}  # proposals, and what the tester makes of them


def test_from_a_photograph_to_a_recognizer_in_use(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    store = Store(tmp_path / "set")
    finder = Labeling(Finder(store, threshold=2), 50_000_000)
    with (
        serving(open_detector("ppocr"), labeling=finder, reader=Reader(DEFAULT_MODEL)) as address,
        visiting(browser, address, "/label") as page,
    ):
        page.get_by_text("No words yet").wait_for()
        page.set_input_files("#files", PHOTOGRAPH)
        for _ in PHOTOGRAPHED.split():
            page.wait_for_selector("#around polygon")
            proposed = page.locator("#text").input_value()
            if proposed in WORDS:
                page.keyboard.type(WORDS[proposed])
            page.keyboard.press("Enter")
            page.wait_for_function(
                "text => document.getElementById('text').value !== text || document.getElementById('work').hidden",
                arg=WORDS.get(proposed, proposed),
            )
        page.get_by_text("All done").wait_for()
        wanted = sorted(WORDS.get(word, word) for word in PHOTOGRAPHED.split())
        assert sorted(item.text for item in store.each(["labeled"])) == wanted

        page.click("#view-train")
        page.fill("#minutes", "1")
        page.check("#forget")
        page.click("#train")
        page.locator("#phase.done, #phase.failed").wait_for(timeout=1_500_000)
        assert page.locator("#phase").inner_text() == "Done", page.locator("#run-error").inner_text()
        assert "held-out crops, not trained on" in page.locator("#compared-summary").inner_text()
        assert page.locator("#accuracy polyline").count() == 1 and page.locator("#others polyline").count() >= 4
        page.click("#use")
        page.get_by_text("set-1 reads from now on").wait_for()
        with page.expect_download() as download:
            page.click("#download")
        exported = tmp_path / download.value.suggested_filename
        download.value.save_as(exported)

        assert httpx.get(f"{address}/v1/models").json()["models"][0]["name"] == "set-1"
        files = [("files", ("clean.png", (CROPS / "clean.png").read_bytes()))]
        read = httpx.post(f"{address}/v1/read", files=files, timeout=60).json()["readings"][0]
        assert read["text"] == Reader(exported).read(CROPS / "clean.png").text
        page.goto(address)
        page.click("#options-open")
        assert page.locator("#model").input_value() == "set-1"
    store.close()
