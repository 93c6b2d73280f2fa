"""``make slow``: very many crops of every preset in nine languages, none of which fails or is empty."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dptr.config.load import load_recipe
from dptr.config.train import SynthRecipe
from dptr.synth import EMBEDDED, FontIndex, Renderer, find_fonts
from dptr.synth.datasets import write_folder
from dptr.synth.source import RenderedWords
from dptr.synth.worker import make_source
from dptr.text.charset import SPACED, Charset, resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.unicode import JOINERS
from dptr.training.resolve import resolve_synth

CROPS = 100_000  # in all
CODES = ("en", "de", "ru", "ar", "hi", "bn", "zh", "ja", "ko")
PRESETS = sorted((Path(__file__).resolve().parents[2] / "recipes/synth").glob("*.toml"))
EACH = -(-CROPS // (len(CODES) * len(PRESETS)))
EMPTY = 5.0  # gray levels (of 255) between the 2nd and the 98th percentile; less is a crop without ink that shows
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def contrast(crop: np.ndarray) -> float:
    """The largest range over the channels, less the darkest and the lightest 2 % of pixels: 0 to 255."""
    low, high = np.percentile(crop.reshape(-1, 3), (2, 98), axis=0)
    return float((high - low).max())


@pytest.fixture(scope="module")
def fonts(script_fonts) -> FontIndex:
    return FontIndex([*find_fonts([EMBEDDED]), *script_fonts])


def recipe(preset: Path, code: str) -> SynthRecipe:
    photographs = [f"render.backgrounds={os.environ['DPTR_DATA']}/natural"] if "DPTR_DATA" in os.environ else []
    charset = f"{code}{SPACED}" if load_recipe(SynthRecipe, preset).corpus.phrases else code
    return resolve_synth(load_recipe(SynthRecipe, preset, [f"charset={charset}", *photographs]))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_no_crop_fails_or_is_empty(preset, code, fonts):
    pytest.importorskip("wordfreq")
    settings = recipe(preset, code)
    characters = resolve_charset(settings.charset).characters
    known = [c for c in characters if c == " " or c in JOINERS or fonts.can_draw(c)]
    assert sum(not c.isascii() for c in known) > 20 or code == "en"
    corpus = Corpus(settings.corpus, Charset(settings.charset, tuple(known)), settings.max_length, settings.seed)
    source = RenderedWords(corpus, Renderer(settings.render, settings.seed, fonts, settings.size))
    for index in range(EACH):
        crop, word, _ = source.sample(index)
        assert settings.size.holds(crop.shape) and crop.dtype == np.uint8
        assert not word or contrast(crop) >= EMPTY, f"sample {index}, {word!r}: contrast {contrast(crop):.1f}"


def contents(folder: Path) -> dict[Path, bytes]:
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_any_number_of_workers_gives_the_same_bytes(preset, fonts, tmp_path):
    pytest.importorskip("wordfreq")
    settings = recipe(preset, "en")
    for workers in (1, 4):
        write_folder(settings, 100, 1300, tmp_path / str(workers), workers)
    one, four = (contents(tmp_path / side) for side in ("1", "4"))
    assert one == four and len(one) == 1200 + 2
    source = make_source(settings)
    assert np.array_equal(source.sample(777)[0], source.sample(777)[0])
