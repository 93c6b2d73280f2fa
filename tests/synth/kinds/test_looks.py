"""What single kinds promise: dots, faded ink, sleeves upside down, relief, nothing written."""

from __future__ import annotations

import string

import numpy as np
import pytest

from dptr.synth.kinds import dot_matrix
from dptr.synth.kinds.empty import draw_empty
from dptr.synth.kinds.kind import Materials, enlarge, relief, stretch, turn_around
from dptr.synth.kinds.marker import draw_marker
from dptr.synth.kinds.plate import draw_plate
from dptr.synth.kinds.receipt import draw_receipt
from dptr.synth.layout import Line, draw_word

A = """
..#..
.#.#.
#...#
#...#
#####
#...#
#...#
"""


@pytest.fixture
def materials(font_index) -> Materials:
    palette = np.random.default_rng(0).uniform(0, 255, (200, 3)).astype(np.float32)
    photograph = np.random.default_rng(1).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    return Materials(palette, (photograph,), font_index)


def test_dots_are_those_of_the_character_generator() -> None:
    drawn = ["".join(".#"[int(dot)] for dot in row[:5]) for row in dot_matrix.dot_grid("A")[:7]]
    assert "\n".join(drawn) == A.strip()
    characters = string.digits + string.ascii_letters + string.punctuation
    assert dot_matrix.can_draw(characters + " ") and not dot_matrix.can_draw("é")
    assert len({dot_matrix.dot_grid(char).tobytes() for char in characters}) == len(characters)


def test_dots_stand_where_their_stops_say() -> None:
    line = dot_matrix.draw_dots("HI 8", 0.4)
    for (left, _), (right, _) in line.stops[[0, 1, 3]]:
        assert line.mask[:, round(max(left, 0)) : round(right)].any()
    gap = line.mask[:, round(line.stops[2, 0, 0]) : round(line.stops[2, 1, 0])]
    assert not gap.any()


def test_printed_lines_lose_ink_but_never_all(font_index, materials) -> None:
    font = font_index.fonts[0]
    kept = []
    for seed in range(200):
        line = draw_receipt("TOTAL 12.50", font, materials, np.random.default_rng(seed))
        left, top, right, bottom = line.box
        ink = line.mask[top:bottom, left:right].astype(float)
        whole = draw_word(font, "TOTAL 12.50").mask
        kept.append(ink.mean() / whole.mean())
    assert min(kept) > 0.08 and np.median(kept) < 1.05 and min(kept) < 0.5


def test_markers_are_upside_down_at_their_share(font_index, materials) -> None:
    turned = [
        bool(np.isnan(draw_marker("-QF7", font_index.fonts[0], materials, np.random.default_rng(seed)).stops).all())
        for seed in range(600)
    ]
    assert np.mean(turned) == pytest.approx(0.13, abs=0.055)


def test_a_line_turned_twice_is_itself(font_index) -> None:
    line = enlarge(draw_word(font_index.fonts[0], "24V"), (0.1, 0.5, 1.0, 0.2))
    twice = turn_around(turn_around(line))
    np.testing.assert_array_equal(twice.mask, line.mask)
    assert twice.box == line.box
    left, top, right, bottom = turn_around(line).box
    np.testing.assert_array_equal(
        turn_around(line).mask[top:bottom, left:right], draw_word(font_index.fonts[0], "24V").mask[::-1, ::-1]
    )


def test_stops_follow_what_is_stretched_and_enlarged(font_index) -> None:
    word = draw_word(font_index.fonts[0], "24V")
    wide = stretch(word, 1.5)
    np.testing.assert_allclose(wide.stops[..., 0], word.stops[..., 0] * 1.5, atol=1)
    larger = enlarge(word, (0.5, 0.25, 0.0, 0.0))
    height = word.mask.shape[0]
    np.testing.assert_allclose(larger.stops - word.stops, np.full((3, 2, 2), (round(height / 2), round(height / 4))))


def test_relief_is_light_on_one_side_and_shadow_on_the_other() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[20:40, 20:40] = 255
    for seed in range(6):
        light = relief(mask, np.random.default_rng(seed), 100.0)
        assert light.max() > 20 and light.min() < -20 and abs(light.mean()) < 1
        assert np.abs(light[:8, :8]).max() < 1


def test_plates_hold_a_seal_only_between_groups(font_index, materials) -> None:
    gaps = []
    for seed in range(60):
        line = draw_plate("ABC123", font_index.fonts[0], materials, np.random.default_rng(seed))
        steps = np.diff(line.stops.mean(1)[:, 0])
        assert len(line.stops) == 6 and (steps > 0).all()
        gaps.append(int(np.argmax(steps)) if steps.max() > 1.4 * np.median(steps) else -1)
    assert set(gaps) == {-1, 2} and 0.15 < np.mean(np.array(gaps) == 2) < 0.6


def test_nothing_is_written_on_empty_pictures(materials) -> None:
    aspects = []
    for seed in range(80):
        line = draw_empty("", None, materials, np.random.default_rng(seed))
        assert isinstance(line, Line) and not line.mask.any() and line.stops.shape == (0, 2, 2)
        aspects.append(line.mask.shape[1] / line.mask.shape[0])
    assert min(aspects) < 1 and max(aspects) > 6
    assert draw_empty("word", None, materials, np.random.default_rng(0)) is None
