"""Shapes in signatures are enforced here, in tests only; and the fixtures that several folders share."""

from __future__ import annotations

import signal
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

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

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background: programs under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Nobody's font cache is read or written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def font_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one font, the one that Pillow carries: Latin letters, digits, signs."""
    from PIL import ImageFont

    folder = tmp_path_factory.mktemp("fonts")
    (folder / "pillow.ttf").write_bytes(ImageFont.load_default(20).path.getvalue())
    return folder
