import numpy as np
import pytest

from dptr.data.synth import effects, grounds, layout
from dptr.data.synth.fonts import find_fonts


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def edges():
    """A picture with a bright bar."""
    image = np.full((32, 64, 3), 60, np.float32)
    image[8:24, 24:40] = (200, 120, 90)
    return image


def test_blurs_keep_the_light_and_lose_the_edges(rng, edges):
    for blurred in (effects.gaussian_blur(edges, 1.5), effects.motion_blur(edges, rng, 5.0)):
        assert blurred.mean() == pytest.approx(edges.mean(), rel=1e-3)
        assert np.abs(np.diff(blurred, axis=1)).max() < np.abs(np.diff(edges, axis=1)).max()


@pytest.mark.parametrize("length", [1.5, 4.0, 9.0])
def test_motion_smears_a_point_along_a_line_of_that_length(rng, length):
    point = np.zeros((31, 31, 3), np.float32)
    point[15, 15] = 1
    for _ in range(10):
        y, x = np.nonzero(effects.motion_blur(point, rng, length)[..., 0] > 0.02)
        assert length - 1.5 <= np.hypot(np.ptp(x), np.ptp(y)) <= length + 3


def test_sharpening_raises_edges_and_keeps_flats(edges):
    sharp = effects.sharpen(edges, 1.0)
    assert np.ptp(sharp) > np.ptp(edges) + 20
    np.testing.assert_allclose(sharp[:2], edges[:2], atol=1e-2)


def test_noise_has_at_most_the_asked_strength(rng):
    flat = np.full((64, 64, 3), 128, np.float32)
    strengths = [effects.sensor_noise(flat, rng, most=5.0).mean(2).std() for _ in range(60)]
    assert max(strengths) < 8 and min(strengths) > 0.5
    assert np.mean([effects.sensor_noise(flat, rng, most=100.0).std() for _ in range(60)]) < 15


def test_fringes_move_red_and_blue_apart_and_leave_green(rng, edges):
    for _ in range(5):
        moved = effects.fringe(edges, rng)
        np.testing.assert_array_equal(moved[..., 1], edges[..., 1])
        columns = np.arange(64)
        centre = [((moved[..., c] - 60).sum(0) * columns).sum() / (moved[..., c] - 60).sum() for c in range(3)]
        assert (centre[0] - 31.5) == pytest.approx(31.5 - centre[2], abs=0.05)


def test_jpeg_keeps_colours_in_their_places():
    image = np.zeros((16, 32, 3), np.uint8)
    image[:] = (200, 30, 90)
    again = effects.jpeg(image, 90)
    assert again.shape == image.shape and np.abs(again.astype(int) - image).max() < 8


def test_bloom_only_adds_light_and_only_near_bright_parts(rng, edges):
    shining = effects.bloom(edges, rng)
    assert (shining >= edges - 1e-3).all() and shining[16, 22].max() > 60.5
    np.testing.assert_allclose(effects.bloom(edges * 0.3, rng), edges * 0.3, atol=1e-3)


def test_light_stays_finite_and_often_changes_brightness(rng, edges):
    means = [effects.light(edges, rng).mean() for _ in range(200)]
    assert np.isfinite(means).all() and np.std(means) > 10


def test_the_palette_is_in_range_varied_and_repeatable():
    colours = grounds.palette([])
    assert colours.shape == (4096, 3) and colours.min() >= 0 and colours.max() <= 255
    np.testing.assert_array_equal(colours, grounds.palette([]))
    luma = colours @ grounds.LUMA
    assert (luma > 200).mean() > 0.1 and (luma < 50).mean() > 0.1
    assert (np.ptp(colours, axis=1) > 120).mean() > 0.12
    pink = np.full((80, 80, 3), (250, 100, 180), np.uint8)
    assert 0.1 < (grounds.palette([pink]) == (250, 100, 180)).all(1).mean() < 0.2


def test_contrasting_takes_the_colour_nearest_to_the_asked_contrast(rng):
    greys = np.repeat(np.array([0, 60, 130, 255], np.float32)[:, None], 3, 1)
    for contrast, best in ((0, 0), (50, 60), (140, 130), (240, 255)):
        assert grounds.contrasting(rng, greys, np.zeros(3, np.float32), contrast)[0] == best
    red_green = np.array([[255, 0, 0], [0, 130, 0]], np.float32)  # equal luma: only 0.35 of the distance counts
    assert grounds.contrasting(rng, red_green, red_green[0], 100)[1] == 130


def test_grounds_have_their_shapes_and_ranges(rng):
    photograph = rng.integers(0, 256, (160, 240, 3), dtype=np.uint8)
    colour = np.array([10, 200, 30], np.float32)
    np.testing.assert_array_equal(grounds.flat(colour, 5, 7), np.broadcast_to(colour, (5, 7, 3)))
    for _ in range(30):
        assert grounds.patch(rng, [photograph], 48, 192).shape == (48, 192, 3)
        ramp = grounds.slope(rng, 48, 192)
        assert ramp.shape == (48, 192) and ramp.dtype == np.float32
        assert ramp.min() == pytest.approx(0, abs=1e-6) and ramp.max() == pytest.approx(1)
        noise = grounds.smooth_noise(rng, 48, 192, 6)
        assert noise.shape == (48, 192) and np.abs(noise).max() <= 1
        panel = grounds.panels(rng, np.zeros((48, 192, 3), np.float32), colour)
        middle = (panel[16:32, 64:128] > 0).any(2).mean()
        assert panel.max() <= 200 and middle < 0.7


def test_bold_and_thin_strokes():
    mask = np.zeros((20, 40), np.uint8)
    mask[5:15, 10:20] = 255
    assert (layout.embolden(mask, 2) > 127).sum() > 14 * 13 and layout.embolden(mask, 2).shape == (24, 44)
    assert (layout.embolden(mask, -1) > 127).sum() == 64
    hair = np.zeros((9, 9), np.uint8)
    hair[4] = 255
    np.testing.assert_array_equal(layout.embolden(hair, -1), hair)


def whole(mask):
    height, width = mask.shape
    return layout.Line(mask, (0, 0, width, height), np.zeros((0, 2, 2)))


@pytest.mark.parametrize("angle", [0.3, 1.0, -0.3, -1.0])
def test_bending_raises_or_lowers_the_middle_and_keeps_the_ink(angle):
    bar = np.full((20, 200), 255, np.uint8)
    bent = layout.bend(whole(bar), angle).mask
    heights = [np.flatnonzero(bent[:, x] > 127).mean() for x in (6, bent.shape[1] // 2, bent.shape[1] - 7)]
    rise = 200 / abs(angle) * (1 - np.cos(angle / 2))  # sagitta of the arc
    assert np.sign(angle) * (heights[0] - heights[1]) == pytest.approx(rise, abs=0.12 * rise + 2)
    assert heights[0] == pytest.approx(heights[2], abs=1)
    assert (bent > 127).sum() == pytest.approx(bar.size, rel=0.06)


def test_bending_keeps_left_left_and_up_up():
    bar = np.full((20, 200), 100, np.uint8)
    bar[:10, :100] = 255
    for angle in (0.8, -0.8):
        bent = layout.bend(whole(bar), angle).mask
        _, x = np.nonzero(bent > 200)
        assert x.mean() < 0.4 * bent.shape[1]
        column = bent[:, bent.shape[1] // 4]
        lit = np.flatnonzero(column > 200)
        assert lit.mean() < np.flatnonzero((column > 50) & (column <= 200)).mean()


def test_letters_in_line_stand_where_the_whole_word_has_them(font_file):
    (font,) = find_fonts([font_file])
    whole = layout.draw_word(font, "HIMH").mask
    apart = layout.draw_letters(font, "HIMH", 0.0, np.zeros((4, 3))).mask
    assert apart.shape[0] == whole.shape[0] and abs(apart.shape[1] - whole.shape[1]) <= 3
    wide = layout.draw_word(font, "HIMH", 0.5).mask
    assert wide.shape[1] - whole.shape[1] == pytest.approx(3 * 0.5 * layout.SIZE, abs=4)
    higher = np.zeros((4, 3))
    higher[0, 2] = 0.5
    grown = layout.draw_letters(font, "HIMH", 0.0, higher).mask
    assert grown.shape[0] == pytest.approx(1.5 * whole.shape[0], abs=3)
    assert grown[: whole.shape[0] // 3, grown.shape[1] // 2 :].max() == 0 and grown[-3, -10:].max() > 0


def test_neighbours_keep_a_space_away(font_file, rng):
    (font,) = find_fonts([font_file])
    word = layout.draw_word(font, "Word")
    mask = word.mask
    beyond = 0
    for _ in range(40):
        line = layout.add_neighbours(word, font, "Word", rng)
        left, top, right, bottom = line.box
        np.testing.assert_array_equal(line.mask[top:bottom, left:right], mask)
        ring = line.mask[top - 3 : bottom + 3, left - 12 : right + 12].copy()
        ring[3:-3, 12:-12] = 0
        assert ring.max() == 0
        beyond += line.mask.astype(int).sum() > mask.astype(int).sum()
    assert beyond == 40
