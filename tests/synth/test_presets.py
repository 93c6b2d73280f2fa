"""Presets: crops stay what they were when each effect was a key of the recipe (tests/golden/render_presets.json)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import PIL
import pytest
from PIL import Image, features

from dptr.config.effects import PRESETS
from dptr.config.load import load_recipe
from dptr.config.render import RenderConfig
from dptr.config.size import CropSize
from dptr.config.train import SynthRecipe
from dptr.synth import Renderer

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = json.loads((ROOT / "tests/golden/render_presets.json").read_text(encoding="utf-8"))
MACHINE = [
    cv2.__version__, cv2.getCPUFeaturesLine(), np.__version__, PIL.__version__, features.version("freetype2"),
]  # fmt: skip
WORDS = [
    "Hello", "a", "STATION", "www.example.com", "12.50", "GRAND HOTEL", "Coffee&Tea", "(x)", "HI", "the old mill",
]  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number, shape in enumerate([(50, 90, 3), (400, 300, 3), (200, 260)]):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def renderer(preset: str, fonts: Path, photographs: Path, max_width: int = 0) -> Renderer:
    config = RenderConfig(preset=preset, fonts=(str(fonts),), backgrounds=str(photographs))
    return Renderer(config, 11, size=CropSize(max_width=max_width))


def test_every_preset_is_held() -> None:
    assert set(GOLDEN["means"]) == set(GOLDEN["sha256"]) == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_crops_look_as_they_did(preset: str, font_folder: Path, photographs: Path) -> None:
    """Mean gray of 2 x 4 parts: the last bit of a pixel depends on the processor."""
    drawn = renderer(preset, font_folder, photographs)
    for number, means in enumerate(GOLDEN["means"][preset]):
        crop = drawn.render(WORDS[number % len(WORDS)], number).astype(float).mean(2)
        np.testing.assert_allclose(crop.reshape(2, 16, 4, 32).mean((1, 3)).ravel(), means, atol=3, err_msg=str(number))


@pytest.mark.skipif(GOLDEN["machine"] != MACHINE, reason=f"bytes are those of another machine: {GOLDEN['machine']}")
@pytest.mark.parametrize("max_width", [0, 320])
@pytest.mark.parametrize("preset", PRESETS)
def test_crops_have_the_same_bytes(preset: str, max_width: int, font_folder: Path, photographs: Path) -> None:
    drawn, digest = renderer(preset, font_folder, photographs, max_width), hashlib.sha256()
    for number in range(200):
        for array in drawn.render_with_stops(WORDS[number % len(WORDS)], number):
            digest.update(array.tobytes())
    assert digest.hexdigest() == GOLDEN["sha256"][preset][str(max_width)]


def test_recipes_name_the_presets() -> None:
    for path in (ROOT / "recipes/synth").glob("*.toml"):
        render = load_recipe(SynthRecipe, path).render
        assert (render.preset, render.effects) == (path.stem, {})
        assert render.probabilities() == PRESETS[path.stem]
