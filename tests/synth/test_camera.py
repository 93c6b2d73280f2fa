"""Light and camera: what must stay readable stays readable."""

from __future__ import annotations

import numpy as np
import pytest

from dptr.config.effects import PRESETS
from dptr.config.render import RenderConfig, plain_render
from dptr.synth import camera

SHAPE = (32, 128)


@pytest.mark.parametrize("ink", [(250, 240, 230), (90, 90, 90), (60, 20, 20)])
def test_no_light_drowns_the_ink(ink):
    """Each kind of light and all together, over a dark background: 25 levels of contrast are left, or all."""
    names = ("exposure", "color_cast", "glare", "cast_shadow")
    fill = np.zeros((48, 192), np.float32)
    fill[12:36, 20:170:2] = 1
    image = np.full((48, 192, 3), 40, np.float32) + fill[..., None] * (np.array(ink, np.float32) - 40)
    before = camera.ink_contrast(image, fill, fill)
    changed = 0
    for lights in (names, *((name,) for name in names)):
        effects = PRESETS["plain"].model_copy(update=dict.fromkeys(lights, 1.0))
        for seed in range(25):
            lit, contrast = camera.light_scene(image, fill, fill, effects, np.random.default_rng(seed))
            assert contrast == camera.ink_contrast(lit, fill, fill) >= min(25, before) - 1e-3
            changed += lit is not image
    assert changed > 40


def test_defocus_takes_the_place_of_other_blurs():
    """With both certain, a crop is as with defocus alone: two blurs would melt the letters."""
    plain = PRESETS["plain"]
    image = np.random.default_rng(0).uniform(0, 255, (48, 192, 3)).astype(np.float32)

    def shot(**on: float) -> np.ndarray:
        effects = plain.model_copy(update=on)
        return camera.capture(image, 4.0, 5, 1, 200.0, SHAPE, effects, np.random.default_rng(1)).astype(int)

    np.testing.assert_array_equal(shot(defocus=1.0, blur=1.0), shot(defocus=1.0))
    assert shot(defocus=1.0).std() < 0.8 * shot().std()


def test_thin_ink_does_not_drown_in_shining_paper():
    """Paper that bloom lights to 400, averaged with thin ink before it is clipped, would be white everywhere."""
    fill = np.zeros((48, 192), np.float32)
    fill[10:38, 20:170:6] = 0.5
    paper = np.full((48, 192, 3), 250, np.float32) - 130 * fill[..., None]
    effects = PRESETS["plain"].model_copy(update={"bloom": 1.0, "low_resolution": 1.0})
    for seed in range(60):
        lit, contrast = camera.light_scene(paper, fill, fill, effects, np.random.default_rng(seed))
        seen = camera.capture(lit, 4.0, 5, 1, contrast, SHAPE, effects, np.random.default_rng(seed))
        assert np.ptp(seen, axis=(0, 1)).max() > 4


def test_gray_pictures_keep_the_ink():
    """A word that differs from its background by hue alone stays colored, others turn gray."""
    effects = PRESETS["plain"].model_copy(update={"grayscale": 1.0})
    red, green = np.array([200, 0, 0], np.float32), np.array([0, 102, 0], np.float32)  # luma 59.8 and 59.9
    for ink, stays in ((green, True), (np.array([0, 250, 0], np.float32), False)):
        image = np.where(np.arange(192)[:, None] % 32 < 16, red, ink) * np.ones((48, 1, 1), np.float32)
        seen = camera.capture(image, 4.0, 5, 1, 90.0, SHAPE, effects, np.random.default_rng(0)).astype(float)
        assert seen.std(axis=(0, 1)).max() > 40
        assert (np.ptp(seen, axis=2).max() > 1) == stays


def test_several_rows_get_more_pixels_than_one():
    """Eight a row at least, however far the camera is: stripes a row high are still told apart."""
    effects = PRESETS["plain"].model_copy(update={"low_resolution": 1.0})
    image = np.zeros((48, 192, 3), np.float32)
    image[(np.arange(48) // 12) % 2 == 0] = 200
    spread = [
        [
            camera.capture(image, 4.0, 5, rows, 200.0, SHAPE, effects, np.random.default_rng(seed)).std()
            for seed in range(20)
        ]
        for rows in (1, 4)
    ]
    assert min(spread[1]) > 85 and np.mean(spread[1]) > np.mean(spread[0])


def test_a_plain_renderer_has_every_effect_off():
    plain = plain_render(RenderConfig(preset="hard", effects={"wave": 1, "glare": 1}))
    assert not any(plain.probabilities().model_dump().values())
