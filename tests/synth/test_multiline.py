"""Words in several rows: which letters stand where, found by their ink."""

from __future__ import annotations

import numpy as np
import pytest

from dptr.config.effects import PRESETS
from dptr.config.size import CropSize
from dptr.synth import Font, find_fonts, multiline
from dptr.synth.layout import SIZE, draw_word
from dptr.synth.warp import warp_line


@pytest.fixture
def font(font_file) -> Font:
    return find_fonts([font_file])[0]


def test_letters_come_from_top_to_bottom_one_pitch_apart(font):
    line = multiline.stack_letters(font, "HIO", 0.2)
    assert (line.rows, line.upright) == (3, True) and np.isnan(line.stops).all() and line.stops.shape == (3, 2, 2)
    bands = np.flatnonzero(np.diff(np.r_[0, line.mask.max(1) > 0, 0]))
    tops, bottoms = bands[::2], bands[1::2]
    assert len(tops) == 3
    for letter, top, bottom in zip("HIO", tops, bottoms, strict=True):
        row = line.mask[top:bottom]
        columns = np.flatnonzero(row.max(0))
        np.testing.assert_array_equal(row[:, columns[0] : columns[-1] + 1], draw_word(font, letter).mask)
        assert columns.mean() == pytest.approx(line.mask.shape[1] / 2, abs=2.5)  # side bearings differ a little
    assert abs((bottoms[1] - bottoms[0]) - (bottoms[2] - bottoms[1])) <= 2  # the round O reaches below
    wider = multiline.stack_letters(font, "HIO", 0.5).mask
    assert wider.shape[0] - line.mask.shape[0] == pytest.approx(2 * 0.3 * SIZE, abs=2)


def test_dashes_are_turned_and_stops_raised_in_cjk_only(font):
    face = multiline.load_font(font.path, font.number, False)
    (flat, _), (turned, box) = (multiline._cell(face, "-", wide) for wide in (False, True))
    np.testing.assert_array_equal(turned, np.rot90(flat, 3))
    assert (box[0] + box[2]) / 2 == pytest.approx(0, abs=0.25 * SIZE)
    (bracket, low), (upright, high) = (multiline._cell(face, "(", wide) for wide in (False, True))
    np.testing.assert_array_equal(upright, np.rot90(bracket, 3))
    np.testing.assert_allclose((high[3] - high[1], high[2] - high[0]), (low[2] - low[0], low[3] - low[1]))
    (_, low), (_, high) = (multiline._cell(face, "\u3002", wide) for wide in (False, True))
    np.testing.assert_allclose(high - low, np.array((1, -1, 1, -1)) * 0.55 * SIZE)


@pytest.mark.parametrize(
    ("text", "height", "fits"),
    [
        ("HOTEL", 32, True), ("HOTELS", 32, False), ("HOTELS", 48, True), ("I", 32, False),
        ("\u9152\u5834\u5e97", 32, True), ("\u9152\u5834\u9152\u5834", 32, False), ("\u0645\u0646", 32, False),
    ],
)  # fmt: skip
def test_short_words_of_letters_that_do_not_join_can_stand_upright(text, height, fits):
    assert multiline.can_stack_letters(text, height) == fits


def test_two_lines_are_read_from_top_to_bottom(font):
    for seed in range(20):
        heavy = [multiline.stack_words(font, text, np.random.default_rng(seed)) for text in ("MMM iii", "iii MMM")]
        assert all(line.rows == 2 and not line.upright and np.isnan(line.stops).all() for line in heavy)
        first, second = (
            (line.mask.astype(float) * np.arange(len(line.mask))[:, None]).sum() / line.mask.astype(float).sum()
            for line in heavy
        )
        assert first / len(heavy[0].mask) < 0.45 and second / len(heavy[1].mask) > 0.53
    upper = draw_word(font, "the old").mask
    for seed in range(20):
        mask = multiline.stack_words(font, "the old windmill", np.random.default_rng(seed)).mask
        gap = np.flatnonzero(mask.max(1) == 0)
        assert len(gap) >= 0.1 * SIZE - 1 and (np.diff(gap) == 1).all()
        if gap[0] == len(upper):  # not enlarged: the first line is drawn as ever
            shift = np.flatnonzero(mask[: gap[0]].max(0))[0]
            np.testing.assert_array_equal(mask[: gap[0], shift : shift + upper.shape[1]], upper)


def test_upright_letters_fill_the_crop(font):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        word = warp_line(multiline.stack_letters(font, "HOTEL", 0.1), PRESETS["plain"], CropSize(), rng)
        rows = np.flatnonzero(word.fill.max(1) > 0.3)
        assert word.aspect < 0.6 and rows[-1] - rows[0] > 0.7 * len(word.fill)
