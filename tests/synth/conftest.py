"""Fonts for tests: Pillow's bundled one, and variants of it with planted faults."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from PIL import ImageFont

Change = Callable[[TTFont], None]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nobody's font cache is read or written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def font_bytes() -> bytes:
    return ImageFont.load_default(20).path.getvalue()


@pytest.fixture
def make_font(tmp_path, font_bytes):
    """Write a copy of the bundled font under a name, with another family name and a change."""

    def make(file: str, family: str = "Test Sans", change: Change | None = None) -> Path:
        path = tmp_path / "fonts" / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(font_bytes)
        font = TTFont(path)
        for record in font["name"].names:
            if record.nameID in (1, 16):
                record.string = family
        if change is not None:
            change(font)
        font.save(path)
        return path

    return make


@pytest.fixture
def font_file(make_font) -> Path:
    return make_font("test.ttf")
