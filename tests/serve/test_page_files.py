"""The files of the page, without a browser: what they name is there, and nothing in them breaks the server's policy."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers_serve import make_app, make_client

from dptr.serve.options import OcrFields
from dptr.serve.pages import FOLDER

PAGES = sorted(FOLDER.glob("*.html"))
SCRIPTS = sorted(FOLDER.glob("*.js"))


class Elements(HTMLParser):
    """All elements of a page: the name and the attributes of each; and the text within scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.inline = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style"):
            self.inline += data.strip()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_load_only_what_is_here(path: Path) -> None:
    page = Elements(path)
    assert page.inline == ""
    with make_client(make_app()) as client:
        for tag, attributes in page.found:
            assert not [key for key in attributes if key == "style" or key.startswith("on")], (tag, attributes)
            for key in ("src", "href"):
                if key in attributes:
                    assert not attributes[key].startswith(("/", "http", "data:", "//"))  # also below a proxy's path
                    assert client.get(f"/{attributes[key].removeprefix('./')}").status_code == 200


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_html_of_text_and_name_what_is_there(path: Path) -> None:
    script = path.read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert way not in script
    assert set(re.findall(r"https?://[^\s\"'`]+", script)) <= {"http://www.w3.org/2000/svg"}
    assert all((FOLDER / name).is_file() for name in re.findall(r'from "\./([^"]+)"', script))
    home = FOLDER / ("docs.html" if path.name == "docs.js" else "label.html" if "label" in path.name else "index.html")
    ids = {attributes["id"] for _, attributes in Elements(home).found if "id" in attributes}
    wanted = re.findall(r'(?<!headers\.)\b(?:get|press|getElementById)\("([\w-]+)"', script)
    assert set(wanted) <= ids


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.css")), ids=lambda path: path.name)
def test_styles_load_nothing(path: Path) -> None:
    style = path.read_text(encoding="utf-8")
    assert "url(" not in style and "@import" not in style


def test_the_fields_that_the_page_sends_are_known() -> None:
    script = (FOLDER / "app.js").read_text(encoding="utf-8")
    sent = set(re.findall(r"\b(model|language|pattern|lexicon|min_confidence|pictures|format)\b", script))
    wanted = {"model", "language", "pattern", "lexicon", "min_confidence", "pictures", "format"}
    assert sent == wanted <= set(OcrFields.model_fields)
