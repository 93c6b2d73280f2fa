"""Fonts for kinds: the one that Pillow carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from dptr.synth import FontIndex, find_fonts


@pytest.fixture(scope="session")
def font_index(font_folder: Path) -> FontIndex:
    return FontIndex(find_fonts([font_folder]))
