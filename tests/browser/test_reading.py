"""The page in a real browser: Debian's Chromium, driven by playwright. It reads what Python reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_browser import CHROMIUM, browsing, serving, visiting

from dptr.browser import export_page
from dptr.inference.reader import Reader
from dptr.utils.errors import UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]
CROPS = sorted((Path(__file__).resolve().parents[1] / "golden" / "crops").glob("*.png"))


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


@pytest.mark.parametrize("model", ["dptr-en-tiny", "dptr-en"])
def test_golden_crops_are_read_as_in_python(browser: Any, model: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "page", model, photographs=False)
    with serving(folder) as address, visiting(browser, address) as page:
        page.set_input_files("#files", CROPS)
        page.locator(".thumb:not(.waiting)").nth(len(CROPS) - 1).wait_for()
        found = save(page)
    for path, own, other in zip(CROPS, Reader(model).read(CROPS), found, strict=True):
        assert other["path"] == path.name
        assert (other["text"], other["turned"], other["runaway"]) == (own.text, own.turned, own.runaway)
        assert other["confidence"] == pytest.approx(own.confidence, abs=1e-4)
        assert "".join(character for character, _ in other["characters"]) == own.text
