"""Where the files of the page lie."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "page"


def page_file(name: str) -> Path:
    """The path of a file of the page."""
    return FOLDER / name
