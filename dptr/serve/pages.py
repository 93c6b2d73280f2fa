"""The location of the files of the server's web pages."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "page"


def page_file(name: str) -> Path:
    """The path of a file of the web pages."""
    return FOLDER / name
