import numpy as np
import pytest

from dptr.synth import backgrounds, colors, degradations, layout, pixels
from dptr.synth.fonts import find_fonts


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
    for blurred in (degradations.gaussian_blur(edges, 1.5), degradations.motion_blur(edges, rng, 5.0)):
        assert blurred.mean() == pytest.approx(edges.mean(), rel=1e-3)
        assert np.abs(np.diff(blurred, axis=1)).max() < np.abs(np.diff(edges, axis=1)).max()


@pytest.mark.parametrize("length", [1.5, 4.0, 9.0])
def test_motion_smears_a_point_along_a_line_of_that_length(rng, length):
    point = np.zeros((31, 31, 3), np.float32)
    point[15, 15] = 1
    for _ in range(10):
        y, x = np.nonzero(degradations.motion_blur(point, rng, length)[..., 0] > 0.02)
        assert length - 1.5 <= np.hypot(np.ptp(x), np.ptp(y)) <= length + 3


@pytest.mark.parametrize("radius", [0.7, 1.5, 3.0, 6.2])
def test_a_point_out_of_focus_is_an_even_disc(radius):
    kernel = degradations.disc_kernel(radius)
    reach = kernel.shape[0] // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(x, y)
    assert kernel.sum() == pytest.approx(1, abs=1e-5) and (kernel[distance >= radius + 0.5] == 0).all()
    assert np.ptp(kernel[distance <= radius - 0.5]) < 1e-7
    assert 1 / kernel.max() == pytest.approx(np.pi * radius**2, rel=0.08, abs=1.0)  # its area
    if radius > 1:  # variance of a disc along an axis: radius ** 2 / 4
        assert (kernel * x**2).sum() == pytest.approx(radius**2 / 4, rel=0.12)
    point = np.zeros((31, 31, 3), np.float32)
    point[15, 15] = 100
    found = degradations.defocus(point, radius)[15 - reach : 16 + reach, 15 - reach : 16 + reach]
    np.testing.assert_allclose(found, 100 * np.dstack([kernel] * 3), atol=1e-4)


def test_exposure_doubles_the_light_a_step_and_keeps_the_order(edges):
    steps = np.linspace(-4, 3, 15)
    shots = np.array([degradations.expose(edges, step) for step in steps])
    assert (np.diff(shots, axis=0) >= 0).all() and shots.max() == 255
    np.testing.assert_array_equal(degradations.expose(edges, 0.0), edges)
    dark, twice = (np.asarray(degradations.expose(edges, step)) ** 2.2 for step in (-3.0, -2.0))
    np.testing.assert_allclose(twice, 2 * dark, rtol=1e-3)
    for step in steps:  # brighter pixels stay brighter, or clip
        shades = degradations.expose(np.arange(0, 256, 5, dtype=np.float32), step)
        assert (np.diff(shades)[shades[1:] < 255] > 0).all()


def test_a_color_cast_turns_grays_but_keeps_their_luma(rng):
    gray = np.full((8, 16, 3), 100, np.float32)
    seen = np.array([degradations.color_cast(gray, rng)[0, 0] for _ in range(300)])
    np.testing.assert_allclose(seen @ colors.LUMA, 100, rtol=1e-4)
    ratio = seen[:, 0] / seen[:, 2]
    assert 1.8 < ratio.max() < 2.3 and 0.43 < ratio.min() < 0.56 and 0.35 < (ratio > 1).mean() < 0.65


def test_glare_only_brightens_a_part_and_leaves_something_to_read(rng):
    black, white = np.zeros((48, 192, 3), np.float32), np.full((48, 192, 3), 255, np.float32)
    strongest = []
    for _ in range(100):
        state = rng.bit_generator.state
        lit = degradations.glare(black, rng)
        rng.bit_generator.state = state
        np.testing.assert_allclose(degradations.glare(white, rng), 255, atol=1e-3)
        assert lit.min() >= 0 and lit.max() <= 0.7 * 255 + 1e-3 and (lit.mean(2) < 20).any()
        strongest.append(lit.max())
    assert np.median(strongest) > 60


def test_a_cast_shadow_darkens_a_part_and_the_rest_stays(rng):
    flat = np.full((48, 192, 3), 200, np.float32)
    partly = 0
    for _ in range(100):
        shaded = degradations.cast_shadow(flat, rng)
        assert shaded.max() <= 200 + 1e-3 and shaded.min() > 40
        assert (shaded[..., 2] >= shaded[..., 0] - 1e-3).all()  # the sky's light
        partly += (shaded[..., 1] == 200).any() and (shaded[..., 1] < 170).any()
    assert partly > 70


def test_sharpening_raises_edges_and_keeps_flats(edges):
    sharp = degradations.sharpen(edges, 1.0)
    assert np.ptp(sharp) > np.ptp(edges) + 20
    np.testing.assert_allclose(sharp[:2], edges[:2], atol=1e-2)


def test_noise_has_at_most_the_asked_strength(rng):
    flat = np.full((64, 64, 3), 128, np.float32)
    strengths = [degradations.sensor_noise(flat, rng, most=5.0).mean(2).std() for _ in range(60)]
    assert max(strengths) < 8 and min(strengths) > 0.5
    assert np.mean([degradations.sensor_noise(flat, rng, most=100.0).std() for _ in range(60)]) < 15


def test_fringes_move_red_and_blue_apart_and_leave_green(rng, edges):
    for _ in range(5):
        moved = degradations.chromatic_aberration(edges, rng)
        np.testing.assert_array_equal(moved[..., 1], edges[..., 1])
        columns = np.arange(64)
        center = [((moved[..., c] - 60).sum(0) * columns).sum() / (moved[..., c] - 60).sum() for c in range(3)]
        assert (center[0] - 31.5) == pytest.approx(31.5 - center[2], abs=0.05)


def test_jpeg_keeps_colors_in_their_places():
    image = np.zeros((16, 32, 3), np.uint8)
    image[:] = (200, 30, 90)
    again = degradations.jpeg(image, 90)
    assert again.shape == image.shape and np.abs(again.astype(int) - image).max() < 8


def test_bloom_only_adds_light_and_only_near_bright_parts(rng, edges):
    shining = degradations.bloom(edges, rng)
    assert (shining >= edges - 1e-3).all() and shining[16, 22].max() > 60.5
    np.testing.assert_allclose(degradations.bloom(edges * 0.3, rng), edges * 0.3, atol=1e-3)


def test_light_stays_finite_and_often_changes_brightness(rng, edges):
    means = [degradations.light(edges, rng).mean() for _ in range(200)]
    assert np.isfinite(means).all() and np.std(means) > 10


def test_the_palette_is_in_range_varied_and_repeatable():
    palette = colors.make_palette([])
    assert palette.shape == (4096, 3) and palette.min() >= 0 and palette.max() <= 255
    np.testing.assert_array_equal(palette, colors.make_palette([]))
    luma = palette @ colors.LUMA
    assert (luma > 200).mean() > 0.1 and (luma < 50).mean() > 0.1
    assert (np.ptp(palette, axis=1) > 120).mean() > 0.12
    pink = np.full((80, 80, 3), (250, 100, 180), np.uint8)
    assert 0.1 < (colors.make_palette([pink]) == (250, 100, 180)).all(1).mean() < 0.2


def test_contrasting_takes_the_color_nearest_to_the_asked_contrast(rng):
    grays = np.repeat(np.array([0, 60, 130, 255], np.float32)[:, None], 3, 1)
    for contrast, best in ((0, 0), (50, 60), (140, 130), (240, 255)):
        assert colors.pick_contrasting_color(rng, grays, np.zeros(3, np.float32), contrast)[0] == best
    red_green = np.array([[255, 0, 0], [0, 130, 0]], np.float32)  # equal luma: only 0.35 of the distance counts
    assert colors.pick_contrasting_color(rng, red_green, red_green[0], 100)[1] == 130


def test_contrasting_takes_paper_on_paper_only_where_there_is_no_other_color(rng):
    white = np.full(3, 245, np.float32)
    near_and_far = np.repeat(np.array([239, 170], np.float32)[:, None], 3, 1)  # 6 and 75 levels; 30 is nearer to 6
    assert colors.pick_contrasting_color(rng, near_and_far, white, 30)[0] == 170
    near = np.repeat(np.array([239, 243], np.float32)[:, None], 3, 1)
    assert colors.pick_contrasting_color(rng, near, white, 30)[0] == 239


def test_grounds_have_their_shapes_and_ranges(rng):
    photograph = rng.integers(0, 256, (160, 240, 3), dtype=np.uint8)
    color = np.array([10, 200, 30], np.float32)
    np.testing.assert_array_equal(pixels.solid_color(color, 5, 7), np.broadcast_to(color, (5, 7, 3)))
    for _ in range(30):
        assert backgrounds.crop_photograph(rng, [photograph], 48, 192).shape == (48, 192, 3)
        ramp = pixels.linear_gradient(rng, 48, 192)
        assert ramp.shape == (48, 192) and ramp.dtype == np.float32
        assert ramp.min() == pytest.approx(0, abs=1e-6) and ramp.max() == pytest.approx(1)
        noise = pixels.smooth_noise(rng, 48, 192, 6)
        assert noise.shape == (48, 192) and np.abs(noise).max() <= 1
        panel = backgrounds.add_panel(rng, np.zeros((48, 192, 3), np.float32), color)
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


@pytest.mark.parametrize(("amplitude", "length", "phase"), [(8.0, 150.0, 0.4), (14.5, 260.0, 2.0), (5.0, 90.0, 4.0)])
def test_a_wave_moves_columns_by_the_sinusoid(amplitude, length, phase):
    line = layout.Line(np.full((20, 200), 255, np.uint8), (0, 0, 200, 20), np.array([[(3.0, 10.0), (150.0, 10.0)]]))
    waved = layout.wave(line, amplitude, length, phase)
    weights = waved.mask.astype(float)
    middles = (weights * np.arange(weights.shape[0])[:, None]).sum(0) / weights.sum(0)
    truth = amplitude * np.sin(2 * np.pi * np.arange(200) / length + phase)
    np.testing.assert_allclose(middles - middles.mean(), truth - truth.mean(), atol=0.06)
    for x, y in waved.stops[0]:  # pixel 9.5 is the middle of 20
        assert y - 0.5 == pytest.approx(middles[int(x)], abs=0.1)
    np.testing.assert_array_equal(waved.stops[..., 0], line.stops[..., 0])


def test_letters_in_line_stand_where_the_whole_word_has_them(font_file):
    (font,) = find_fonts([font_file])
    whole = layout.draw_word(font, "HIMH").mask
    apart = layout.draw_letters(font, "HIMH", 0.0, np.zeros((4, 3))).mask
    assert apart.shape[0] == whole.shape[0] and abs(apart.shape[1] - whole.shape[1]) <= 3
    wide = layout.draw_word(font, "HIMH", 0.5).mask
    assert wide.shape[1] - whole.shape[1] == pytest.approx(3 * 0.5 * layout.SIZE, abs=4)
    higher = np.zeros((4, 3))
    higher[0, 2] = 0.5
    outline = layout.draw_letters(font, "HIMH", 0.0, higher).mask
    assert outline.shape[0] == pytest.approx(1.5 * whole.shape[0], abs=3)
    assert outline[: whole.shape[0] // 3, outline.shape[1] // 2 :].max() == 0 and outline[-3, -10:].max() > 0


def test_neighbors_keep_a_space_away(font_file, rng):
    (font,) = find_fonts([font_file])
    word = layout.draw_word(font, "Word")
    mask = word.mask
    beyond = 0
    for _ in range(40):
        line = layout.add_neighbors(word, font, "Word", rng)
        left, top, right, bottom = line.box
        np.testing.assert_array_equal(line.mask[top:bottom, left:right], mask)
        ring = line.mask[top - 3 : bottom + 3, left - 12 : right + 12].copy()
        ring[3:-3, 12:-12] = 0
        assert ring.max() == 0
        beyond += line.mask.astype(int).sum() > mask.astype(int).sum()
    assert beyond == 40
