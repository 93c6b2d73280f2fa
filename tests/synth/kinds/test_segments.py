"""Segment displays: what was drawn is read back from the places of the segments."""

from __future__ import annotations

import numpy as np
import pytest

from dptr.synth.kinds import segments
from dptr.synth.kinds.display import DISPLAY
from dptr.synth.kinds.kind import Materials
from dptr.synth.layout import SIZE

TABLES = {"seven": segments.SEVEN, "fourteen": segments.FOURTEEN}
# The middle of each segment of a cell, as shares of its width and height; this table is not that of the drawing.
PROBES = {
    "a": (0.25, 0.0), "b": (1.0, 0.25), "c": (1.0, 0.75), "d": (0.25, 1.0), "e": (0.0, 0.75), "f": (0.0, 0.25),
    "h": (0.27, 0.27), "i": (0.5, 0.25), "j": (0.73, 0.27), "k": (0.27, 0.73), "l": (0.5, 0.75), "m": (0.73, 0.73),
}  # fmt: skip
MIDDLE = {"seven": {"g": (0.5, 0.5)}, "fourteen": {"g": (0.25, 0.5), "p": (0.75, 0.5)}}


def read(mask: np.ndarray, stops: np.ndarray, slant: float, thick: float, name: str) -> str:
    """The character of the cell between two stops."""
    (left, middle), (right, _) = stops
    half = thick * SIZE / 2
    lit = set()
    for segment, (across, down) in {**PROBES, **MIDDLE[name]}.items():
        y = middle + (down - 0.5) * (SIZE - 2 * half)
        x = left + half + across * (right - left - 2 * half) + slant * (middle - y)
        if mask[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].mean() > 127:
            lit.add(segment)
    if name == "seven":
        lit -= set("hijklm")  # no such segments: their places are empty, or those of the middle bar
    found = [char for char, wanted in TABLES[name].items() if set(wanted) == lit]
    return found[0] if len(found) == 1 else "?"


@pytest.mark.parametrize("name", TABLES)
def test_characters_are_told_apart(name: str) -> None:
    shapes = [frozenset(lit) for lit in TABLES[name].values()]
    assert len(set(shapes)) == len(shapes)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("seed", range(12))
def test_what_was_drawn_is_read_back(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = "".join(rng.permutation([char for char in TABLES[name] if char != " "])[:12])
    seven = name == "seven"
    slant, thick = rng.choice((0.0, 0.12)), rng.uniform(0.09, 0.15) if seven else rng.uniform(0.07, 0.1)
    width = rng.uniform(0.5, 0.62) if seven else rng.uniform(0.62, 0.75)
    line, every = segments.draw_segments(
        text, TABLES[name], width, thick, rng.uniform(0, 0.35), slant, rng.uniform(0.1, 0.3)
    )
    assert "".join(read(line.mask, stops, slant, thick, name) for stops in line.stops) == text
    assert (every.astype(int) - line.mask).min() > -16 and every.sum() > line.mask.sum()  # the last bits of edges


def test_points_stand_between_their_neighbors() -> None:
    line, _ = segments.draw_segments("8.8:8", segments.SEVEN, 0.55, 0.12, 0.2, 0.0, 0.2)
    starts, ends = line.stops[:, 0, 0], line.stops[:, 1, 0]
    assert (starts[1:] >= ends[:-1]).all()
    point = line.mask[:, round(starts[1]) : round(ends[1])].max(1) > 127
    colon = line.mask[:, round(starts[3]) : round(ends[3])].max(1) > 127
    assert np.flatnonzero(point).min() > 0.75 * SIZE
    assert np.diff(colon.astype(int)).tolist().count(1) == 2


def test_only_what_the_tables_hold_is_drawn_with_segments() -> None:
    assert segments.can_draw("12.5", segments.SEVEN) and segments.can_draw("OPEN 7", segments.FOURTEEN)
    for text in ("", ".5", "Hello", "50%"):
        assert not segments.can_draw(text, segments.FOURTEEN)


def test_displays_show_readings_left_to_right(font_index) -> None:
    materials = Materials(np.full((4, 3), 128, np.float32), (), font_index)
    for seed in range(30):
        line = DISPLAY.draw("36.5", font_index.fonts[0], materials, np.random.default_rng(seed))
        assert line is not None and line.ground is not None and line.ink is not None
        assert (np.diff(line.stops[:, 0, 0]) > 0).all()
        left, top, right, bottom = line.box
        ink, ground = line.ink, line.ground[top:bottom, left:right][line.mask[top:bottom, left:right] == 0]
        assert np.abs(ink - ground.mean(0)).max() > 30
