"""Inks: what they promise of mask, ink and background, on a drawn word; and how often each is chosen."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from dptr.config.effects import INK_STYLE_NAMES, Effects
from dptr.config.load import load_recipe
from dptr.config.render import RenderConfig, plain_render
from dptr.config.train import SynthRecipe
from dptr.synth import Renderer, ink_styles
from dptr.synth.ink_styles import INK_STYLES, choose_ink_style
from dptr.utils.errors import UserError

SHAPE = (48, 192)


def word() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    cv2.putText(mask, "Hotel", (8, 38), cv2.FONT_HERSHEY_DUPLEX, 1.4, 255, 5, cv2.LINE_AA)
    return mask.astype(np.float32) / 255


def apply(
    name: str, seed: int, background: float = 90.0, ink: float = 230.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat = [np.full((*SHAPE, 3), value, np.float32) for value in (background, ink)]
    return INK_STYLES[name](*flat, word(), np.random.default_rng(seed))


def painted(name: str, seed: int) -> np.ndarray:
    background, ink, mask = apply(name, seed)
    return np.clip(background + (ink - background) * mask[..., None], 0, 255)


@pytest.mark.parametrize("name", INK_STYLES)
@pytest.mark.parametrize("seed", range(8))
def test_layers_are_images_and_a_mask(name: str, seed: int) -> None:
    background, ink, mask = apply(name, seed)
    assert background.shape == ink.shape == (*SHAPE, 3) and mask.shape == SHAPE
    for layer in (background, ink, mask):
        assert layer.dtype == np.float32 and np.isfinite(layer).all()
    assert mask.min() >= 0 and mask.max() <= 1 + 1e-6
    again = apply(name, seed)
    assert all(np.array_equal(one, two) for one, two in zip((background, ink, mask), again, strict=True))


@pytest.mark.parametrize("name", INK_STYLES)
@pytest.mark.parametrize("seed", range(8))
def test_the_word_stands_where_it_stood(name: str, seed: int) -> None:
    """What changed against the background far from the word lies within the word, but for a glow or a grain."""
    picture = painted(name, seed).mean(-1)
    near = cv2.dilate(word(), np.ones((5, 5))) > 0
    away = cv2.dilate(word(), np.ones((15, 15))) == 0
    contrast = np.abs(picture[near] - np.median(picture[away]))
    assert np.quantile(contrast, 0.9) > 15
    inside, outside = (np.abs(picture - np.median(picture[away]))[where].mean() for where in (near, away))
    assert inside > 1.5 * outside


def test_masks_only_lose() -> None:
    for name in ("stencil", "chalk", "hollow", "occlusion"):
        for seed in range(8):
            _, _, mask = apply(name, seed)
            assert (mask <= word() + 1e-6).all(), name
            assert mask.sum() > 0.2 * word().sum(), name
    for seed in range(20):
        assert apply("occlusion", seed)[2].sum() >= 0.8 * word().sum() - 1e-3


def test_a_stencil_cuts_straight_through() -> None:
    for seed in range(8):
        _, _, mask = apply("stencil", seed)
        left = np.divide(mask, word(), out=np.ones(SHAPE, np.float32), where=word() > 0)
        rows, columns = left.min(1), left.min(0)
        assert (rows < 0.5).any() or (columns < 0.5).any()
        assert min((rows < 0.5).mean(), (columns < 0.5).mean()) < 0.2


def test_shares_are_kept() -> None:
    shares = {"neon": 0.2, "chalk": 0.1, "dots": 0.3}
    drawn = Counter(choose_ink_style(shares, (number + 0.5) / 1000) for number in range(1000))
    assert drawn == {INK_STYLES["neon"]: 200, INK_STYLES["chalk"]: 100, INK_STYLES["dots"]: 300, None: 400}
    assert choose_ink_style({name: 1 / 7 for name in INK_STYLES}, 1 - 1e-12) in (*INK_STYLES.values(), None)


def test_every_ink_has_a_setting_and_the_other_way_round() -> None:
    every = Effects.model_validate({name: 0.1 for name in INK_STYLES})
    assert every.ink_styles == {name: 0.1 for name in INK_STYLES} and tuple(INK_STYLES) == INK_STYLE_NAMES
    assert Effects().ink_styles == {}
    with pytest.raises(UserError, match="take more than all crops"):
        load_recipe(SynthRecipe, None, ["render.effects.neon=0.6", "render.effects.chalk=0.6"])


def test_the_renderer_uses_them(font_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    for name, ink in INK_STYLES.items():

        def counting(*layers: object, name: str = name, ink: ink_styles.InkStyle = ink) -> ink_styles.Layers:
            used.append(name)
            return ink(*layers)  # type: ignore[arg-type]

        monkeypatch.setitem(INK_STYLES, name, counting)
    config = RenderConfig(fonts=(str(font_folder),), effects=dict.fromkeys(INK_STYLES, 1 / 8))
    renderer = Renderer(config, 0)
    for index in range(200):
        renderer.render("apple", index)
    assert set(used) == set(INK_STYLES) and 150 <= len(used) <= 195
    used.clear()
    Renderer(plain_render(config), 0).render("apple", 0)
    assert not used


def test_paper_is_nearly_white(font_folder) -> None:
    config = RenderConfig(preset="plain", effects={"paper": 1.0, "black_or_white": 1.0}, fonts=(str(font_folder),))
    crops = [Renderer(config, 0).render("apple", index) for index in range(20)]
    assert all(np.median(crop) > 170 and crop.min() < 90 for crop in crops)
