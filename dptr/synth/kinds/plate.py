"""License plates, with colors, frames, bands, screws, and small print as in many countries, in condensed fonts."""

from __future__ import annotations

import re
from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import layout, multiline, pixels
from dptr.synth.fonts import Font, needs_shaping
from dptr.synth.kinds.kind import NO_SIGN, Kind, Materials, enlarge, on_ground, relief, stretch, write_small
from dptr.synth.layout import Line

# RGB of plate and letters: white, yellow, black, blue, green, and pastel plates.
_COLORS = (
    ((240, 240, 235), (15, 15, 20)), ((240, 240, 238), (20, 30, 110)), ((235, 205, 40), (15, 15, 15)),
    ((18, 18, 20), (235, 235, 235)), ((25, 50, 130), (240, 240, 240)), ((20, 110, 60), (245, 245, 240)),
    ((235, 235, 240), (170, 25, 35)), ((205, 220, 240), (20, 35, 100)), ((240, 225, 195), (30, 60, 50)),
    ((230, 180, 60), (25, 25, 60)), ((30, 140, 140), (235, 200, 40)), ((245, 240, 230), (15, 90, 60)),
)  # fmt: skip
_STATES = ("California", "NEVADA", "IOWA", "Ohio", "WASHINGTON", "Kentucky", "Arizona", "VIRGINIA", "New York", "TEXAS",
           "Florida", "Oregon", "MAINE", "Utah", "Wisconsin", "Georgia", "Alaska", "New Jersey", "Illinois", "Maryland",
           "Sunshine State", "Garden State", "Land of Lincoln", "GREAT LAKES", "www.state.us", "MAY 12", "TRAILER",
           "DEALER", "EXPIRES")  # fmt: skip


# Two groups of letters and digits. Many plates have a gap with a seal between them, which is not read as a space.
_GROUPS = re.compile(r"([A-Z]{2,4}(?=\d)|\d{2,4}(?=[A-Z]))([A-Z]{2,4}|\d{2,5})")


def draw_plate(text: str, font: Font | None, materials: Materials, rng: Generator) -> Line | None:
    """Draw a plate with its number; None for scripts that join their letters."""
    if font is None or needs_shaping(text):
        return None
    line, gap = _draw_number(text, font, rng)
    if rng.random() < 0.4:
        old_width = line.mask.shape[1]
        line = layout.thicken(line, int(rng.choice((-1, 1, 2))))
        gap += (line.mask.shape[1] - old_width) / 2 if gap else 0.0
    american = rng.random() < 0.55
    rise, fall = rng.uniform(0.35, 0.6, 2) if american else rng.uniform(0.12, 0.3, 2)
    sides = rng.uniform(0.15, 0.5, 2)
    car_margin = 0.25  # margin of the car around the plate, in heights of the number
    line = enlarge(line, (sides[0] + car_margin, rise + car_margin, sides[1] + car_margin, fall + car_margin))
    height, width = line.mask.shape
    edge = car_margin * (line.box[3] - line.box[1])
    rim = np.array((edge, edge, width - edge, height - edge))
    base, ink = (np.array(color, np.float32) for color in _COLORS[int(rng.integers(len(_COLORS)))])
    ground = pixels.solid_color(np.clip(base + rng.normal(0, 6, 3), 0, 255), height, width)
    if american:
        ground = _paint_landscape(ground, materials, rng)
    name_color = materials.color(rng) if american and rng.random() < 0.5 else ink
    if american or rng.random() < 0.2:
        _write_names(ground, line, rim, name_color, materials, rng)
    if gap:
        _paint_seal(ground, line, line.box[0] + gap, ink, materials, rng)
    ground = _paint_frame(ground, rim, line, ink, american, materials, rng)
    if rng.random() < 0.6:
        ground = ground + relief(line.mask, rng, rng.uniform(20, 70))
    return on_ground(replace(line, box=_enlarge_box(line, rng)), ground, ink)


def _enlarge_box(line: Line, rng: Generator) -> tuple[int, int, int, int]:
    """Enlarge the box of the number within the mask, because crops of plates show some of the plate around it."""
    left, top, right, bottom = line.box
    margins = rng.uniform(0, 0.22, 4) * (bottom - top) * (rng.random() < 0.75)
    return int(left - margins[0]), int(top - 0.8 * margins[1]), int(right + margins[2]), int(bottom + 0.8 * margins[3])


def _draw_number(text: str, font: Font, rng: Generator) -> tuple[Line, float]:
    """Draw the number; also return the x of a seal between its two groups in pixels, or 0 if there is no seal."""
    spacing, factor = rng.uniform(0.02, 0.2), rng.uniform(0.65, 1.1)
    if " " in text and rng.random() < 0.12:  # on two lines, as on motorcycles
        return stretch(multiline.stack_words(font, text, rng), factor), 0.0
    groups = _GROUPS.fullmatch(text)
    if groups is None or rng.random() > 0.35:
        return stretch(layout.draw_word(font, text, spacing), factor), 0.0
    first, last = (stretch(layout.draw_word(font, group, spacing), factor) for group in groups.groups())
    height, gap = max(first.mask.shape[0], last.mask.shape[0]), round(rng.uniform(0.5, 1.0) * layout.SIZE)
    start = first.mask.shape[1] + gap
    mask = np.zeros((height, start + last.mask.shape[1]), np.uint8)
    layout.paste(mask, first.mask, 0, height - first.mask.shape[0])
    layout.paste(mask, last.mask, start, height - last.mask.shape[0])
    stops = np.concatenate((first.stops, np.add(last.stops, (start, 0))))
    return Line(mask, (0, 0, mask.shape[1], height), stops), start - gap / 2


def _paint_seal(
    ground: np.ndarray, line: Line, x: float, ink: np.ndarray, materials: Materials, rng: Generator
) -> None:
    """Paint a dot or a blob (a seal, a map, an animal) between two groups of letters, in place."""
    height = line.box[3] - line.box[1]
    center = np.array((x, (line.box[1] + line.box[3]) / 2))
    color = ink if rng.random() < 0.5 else materials.color(rng)
    if rng.random() < 0.35:
        cv2.circle(ground, center.astype(int).tolist(), round(0.09 * height), color.tolist(), -1, cv2.LINE_AA)
        return
    angles = np.sort(rng.uniform(0, 2 * np.pi, 10))
    lengths = rng.uniform(0.06, 0.24, (10, 1)) * height
    shape = center + lengths * np.stack((np.cos(angles), np.sin(angles) * rng.uniform(1, 1.8)), 1)
    cv2.fillPoly(ground, [shape.astype(np.int32)], color.tolist(), cv2.LINE_AA)


def _paint_landscape(ground: np.ndarray, materials: Materials, rng: Generator) -> np.ndarray:
    """Paint a sky that fades into the plate, hills, and an emblem, all faint, so that the letters remain readable."""
    height, width = ground.shape[:2]
    if rng.random() < 0.6:
        fade = np.linspace(1, 0, height, dtype=np.float32)[:, None] ** rng.uniform(0.7, 3)
        fade = fade[::-1] if rng.random() < 0.4 else fade
        pale = materials.color(rng) * 0.5 + 110
        ground = pixels.blend(ground, pale, rng.uniform(0.4, 1) * np.tile(fade, (1, width)))
    if rng.random() < 0.3:
        layer = np.zeros((height, width), np.uint8)
        ridge = height - rng.uniform(0.1, 0.45) * height * rng.random(9)
        points = np.stack((np.linspace(0, width, 9), ridge), 1)
        cv2.fillPoly(layer, [np.vstack((points, (width, height), (0, height))).astype(np.int32)], 255, cv2.LINE_AA)
        ground = pixels.blend(ground, materials.color(rng), rng.uniform(0.1, 0.35) * layer.astype(np.float32) / 255)
    if rng.random() < 0.35:
        layer = np.zeros((height, width), np.uint8)
        center = rng.uniform((0.2, 0.35), (0.8, 0.65)) * (width, height)
        angles = np.sort(rng.uniform(0, 2 * np.pi, 11))
        shape = center + rng.uniform(0.2, 0.45, (11, 1)) * height * np.stack((np.cos(angles), np.sin(angles)), 1)
        cv2.fillPoly(layer, [shape.astype(np.int32)], 255, cv2.LINE_AA)
        ground = pixels.blend(ground, materials.color(rng), rng.uniform(0.08, 0.3) * layer.astype(np.float32) / 255)
    return ground


def _write_names(
    ground: np.ndarray, line: Line, rim: np.ndarray, color: np.ndarray, materials: Materials, rng: Generator
) -> None:
    """Write states or slogans above and below the number, and add stickers in the corners, in place.

    Args:
        rim: left, top, right, and bottom of the plate in pixels.
    """
    _, top, _, bottom = line.box
    for first, last in ((rim[1], top), (bottom, rim[3])):
        name = _STATES[int(rng.integers(len(_STATES)))]
        if rng.random() < 0.25 or not materials.fonts.can_draw(name):
            continue
        font = materials.fonts.choose(name, rng.random())
        size = rng.uniform(0.45, 0.75) * (last - first)
        x = rim[0] + rng.uniform(0.1, 0.45) * (rim[2] - rim[0])
        write_small(ground, name, font, color, size, (x, first + rng.uniform(0.1, 0.3) * (last - first)))
    for _ in range(int(rng.integers(0, 3))):
        sticker = materials.color(rng)
        size = 0.7 * (top - rim[1]) * np.array((1.5, 1))
        x = rim[0] + 4 if rng.random() < 0.5 else rim[2] - size[0] - 4
        y = rim[1] + 3 if rng.random() < 0.5 else rim[3] - size[1] - 3
        corner, opposite = (int(x), int(y)), (int(x + size[0]), int(y + size[1]))
        if corner[1] < bottom < opposite[1] or opposite[1] < top or corner[1] > bottom:
            cv2.rectangle(ground, corner, opposite, sticker.tolist(), -1, cv2.LINE_AA)


def _paint_frame(
    ground: np.ndarray,
    rim: np.ndarray,
    line: Line,
    ink: np.ndarray,
    american: bool,
    materials: Materials,
    rng: Generator,
) -> np.ndarray:
    """Paint the border of the plate, its country band and screws, and the car around it.

    Args:
        rim: left, top, right, and bottom of the plate in pixels.
    """
    height, width = ground.shape[:2]
    letter_height = line.box[3] - line.box[1]
    corner, opposite = (int(rim[0]), int(rim[1])), (int(rim[2]), int(rim[3]))
    ground = np.ascontiguousarray(ground)
    if not american and rng.random() < 0.5:  # the blue band of the European Union and its neighbors
        band = min(0.16 * letter_height + 0.3 * (line.box[0] - rim[0]), line.box[0] - rim[0] - 0.06 * letter_height)
        blue = np.clip(np.array((10, 50, 150)) + rng.normal(0, 15, 3), 0, 255)
        cv2.rectangle(ground, corner, (int(rim[0] + band), opposite[1]), blue.tolist(), -1)
    if rng.random() < 0.65:
        inset = int(rng.uniform(0.02, 0.06) * letter_height)
        start, end = (corner[0] + inset, corner[1] + inset), (opposite[0] - inset, opposite[1] - inset)
        thickness = max(1, round(rng.uniform(0.02, 0.05) * letter_height))
        cv2.rectangle(ground, start, end, ink.tolist(), thickness, cv2.LINE_AA)
    if rng.random() < 0.4:
        y = rim[1] + 0.2 * (line.box[1] - rim[1]) if american else (rim[1] + rim[3]) / 2
        side = 0.22 * (rim[2] - rim[0]) if american else 0.08 * letter_height
        shade = rng.uniform(40, 190)
        for x in (rim[0] + side, rim[2] - side):
            cv2.circle(ground, (int(x), int(y)), max(2, round(0.06 * letter_height)), (shade,) * 3, -1, cv2.LINE_AA)
    car = materials.color(rng) * rng.uniform(0.1, 1)
    if rng.random() < 0.5:
        car = np.full(3, rng.uniform(5, 60), np.float32)
    inside = np.zeros((height, width), np.uint8)
    cv2.rectangle(inside, corner, opposite, 255, -1)
    return pixels.blend(pixels.solid_color(car, height, width), ground, inside.astype(np.float32) / 255)


PLATE = Kind(
    draw_plate,
    texts=("license_plate",),
    fonts="condensed",
    effects={
        **NO_SIGN, "shadow": 0.0, "texture": 0.02, "occlusion": 0.02, "slant": 0.02, "rotation": 0.2,
        "perspective": 0.22, "exposure": 0.08, "cut": 0.04, "low_resolution": 0.15, "blur": 0.15, "wear": 0.05,
    },
)  # fmt: skip
