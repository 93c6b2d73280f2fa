"""Shapes in signatures are enforced here, in tests only; what the machine has is hidden; and shared fixtures."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from dptr.synth import Font

# Before anything imports them: every call checks its shapes and types. Left out is what runs once a word or a pixel.
CHECKED = (
    "dptr.models",
    "dptr.dual.orp.bank",
    "dptr.dual.orp.residuals",
    "dptr.dual.glyph.model",
    "dptr.dual.clip.encoder",
    "dptr.text.tokenizer",
)
install_import_hook(CHECKED, "beartype.beartype")

hypothesis.settings.register_profile("dptr", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("dptr")

# Started in the background or by nohup: programs under test would inherit that they ignore these.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


FONTS = Path(__file__).parent / "fonts"  # of other scripts than Latin, cut down; sources and licenses in FONTS.md


@pytest.fixture(autouse=True, scope="session")
def _no_fonts_of_the_machine(tmp_path_factory: pytest.TempPathFactory):
    """A home and system folders without fonts, here and in what tests start; nobody's font cache is read or written."""
    empty = tmp_path_factory.mktemp("machine")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS", "XDG_CACHE_HOME"):
            patch.setenv(name, str(empty))
        yield


@pytest.fixture(scope="session")
def script_fonts() -> list[Font]:
    """The usable faces of ``FONTS``: Latin, Cyrillic, Greek, Arabic, Hebrew, Devanagari, Bengali, Tamil, East Asian."""
    from dptr.synth import find_fonts

    return find_fonts([FONTS])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the recognizers of other scripts in this repository, which are installed meanwhile."""
    from helpers_weights import install_recognizers

    (tmp_path / "installed").mkdir()
    return install_recognizers(tmp_path / "installed", monkeypatch)


@pytest.fixture(scope="session")
def font_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one font, the one that Pillow carries: Latin letters, digits, signs."""
    from PIL import ImageFont

    folder = tmp_path_factory.mktemp("fonts")
    (folder / "pillow.ttf").write_bytes(ImageFont.load_default(20).path.getvalue())
    return folder
