"""The perspective warp of a word's mask into the crop, with its outline and the place of the board it stands on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from dptr.config.effects import Effects
from dptr.synth import layout
from dptr.synth.sign_board import SignBoard
from dptr.utils.sizes import Size, Sizes

_LEAST_PER_LETTER = 4  # pixels
_MOST_CUT = np.array((0.2, 0.16, 0.2, 0.16))  # of the word's height: left, top, right, bottom of the outer letters
_SCALE = 1.5  # colors are laid on at this multiple of the target size


@dataclass(frozen=True)
class WordMask:
    """A word in its crop, not painted yet.

    Attributes:
        fill: ink, float32 (h, w) in [0, 1].
        outline: ink and contour, float32 (h, w); the same object as ``fill`` where the word gets no contour.
        aspect: the crop's width over height as the camera sees it, before it is stretched.
        stops: float32 (letters, 2), as ``Renderer.render_with_stops`` gives them.
        board: what the word stands on; None where that fills the crop.
        size: height and width of the finished crop in pixels.
        ground: what it stands on, drawn already, float32 (h, w, 3), RGB in [0, 255]; None = not drawn yet.
        ink: (3,), the letters' color on that ground; None = not chosen yet.
    """

    fill: np.ndarray
    outline: np.ndarray
    aspect: float
    stops: np.ndarray
    board: SignBoard | None
    size: Size
    ground: np.ndarray | None = None
    ink: np.ndarray | None = None


def warp_line(line: layout.Line, effects: Effects, size: Sizes, rng: Generator) -> WordMask:
    """Warp the line into the crop."""
    mask, (left, top, right, bottom) = line.mask, line.box
    alone = mask.shape == (bottom - top, right - left)
    edge = 6
    mask, ground = layout.pad(mask, edge, edge), line.ground
    left, top, right, bottom = left + edge, top + edge, right + edge, bottom + edge
    if rng.random() < effects.outline:
        outline = layout.embolden(mask, int(rng.integers(2, 6)))
        extra = (outline.shape[0] - mask.shape[0]) // 2
        mask = np.dstack((layout.pad(mask, extra, extra), outline))
        left, top, right, bottom = left + extra, top + extra, right + extra, bottom + extra
        edge += extra
    if ground is not None:
        ground = cv2.copyMakeBorder(ground, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
    box = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    stops = np.add(line.stops, (left - line.box[0], top - line.box[1]))
    depth = 1.0 if ground is None else 3 * (bottom - top) / (right - left)
    world = _corners(box - box.mean(0), line.upright, len(stops), effects, size.height, min(1.0, depth), rng)
    low, high = world.min(0), world.max(0)
    rise = min(bottom - top, high[1] - low[1])
    if line.upright:
        rise = min(rise, right - left)
    if line.across is not None:  # along an arc: the height of its letters
        rise /= line.rows
    whole, room = box.copy(), None
    if alone and effects.sign_board and rng.random() < effects.sign_board:
        room = rng.uniform(0.2, 0.45, 2) * min(rise, layout.SIZE)
        low, high = _reach(box, room, world)
    loose = rng.random(4)
    margins = np.where(loose < 0.12, rng.uniform(-0.07, 0.02, 4),
                       np.where(loose < 0.85, rng.uniform(0.0, 0.18, 4), rng.uniform(0.15, 0.5, 4)))  # fmt: skip
    if effects.cut and rng.random() < effects.cut:
        sides = rng.random(4) < 0.35
        sides[rng.integers(4)] = True
        margins = np.where(sides, -rng.uniform(0.02, _MOST_CUT), margins)
    if (margins < 0).any():
        upright = abs(world[1, 0] - world[0, 0]) >= abs(world[1, 1] - world[0, 1])
        margins = np.maximum(margins, -_most_cut(line, upright) / rise)
    low, high = low - margins[:2] * rise, high + margins[2:] * rise
    aspect = float((high[0] - low[0]) / (high[1] - low[1]))
    own = size.choose(aspect)
    height, width = (round(side * _SCALE) for side in own)
    # Far more columns, or rows of several rows of letters, than the crop has: average them, the warp would skip some.
    shrinks = (right - left) / (1.6 * width), (bottom - top) / (1.6 * height) if line.rows > 1 else 0.0
    for axis, shrink in enumerate(shrinks):
        if shrink > 1:
            smaller = list(mask.shape[1::-1])
            smaller[axis] = max(1, round(smaller[axis] / shrink))
            mask = cv2.resize(mask, smaller, interpolation=cv2.INTER_AREA)
            if ground is not None:
                ground = cv2.resize(ground, smaller, interpolation=cv2.INTER_AREA)
            box[:, axis] /= shrink
            stops[..., axis] /= shrink
    target = (world - low) / (high - low) * (width, height)
    matrix = _matrix(box, target)
    warped = cv2.warpPerspective(mask, matrix, (width, height), flags=cv2.INTER_LINEAR)
    layers = [layer.astype(np.float32) / 255 for layer in cv2.split(warped)]
    if ground is not None:
        ground = cv2.warpPerspective(
            ground, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)
    projected = np.empty((0, 2))
    if len(stops):
        projected = cv2.perspectiveTransform(stops.reshape(-1, 1, 2), matrix).reshape(-1, 2, 2)[..., 0] / width
    projected[np.isnan(line.stops).any((1, 2))] = np.nan  # OpenCV takes NaN to 0
    if abs(world[1, 0] - world[0, 0]) < abs(world[1, 1] - world[0, 1]):  # the word runs up or down
        projected[:] = np.nan
    board = None if room is None else SignBoard(whole[2] - whole[0], room, _matrix(whole - whole[0], target))
    return WordMask(layers[0], layers[-1], aspect, projected.astype(np.float32), board, own, ground, line.ink)


def _most_cut(line: layout.Line, upright: bool) -> np.ndarray:
    """How far a crop may cut into a word on the left, above, on the right, and below (4,), in pixels of its mask: no
    letter, dot, or mark that stands alone loses more than half. Of a word that is turned the least of the four."""
    left, top, right, bottom = line.box
    ink = (line.mask[top:bottom, left:right] > 127).astype(np.uint8)
    x, y, width, height, _ = cv2.connectedComponentsWithStats(ink)[2][1:].T
    if not len(x):
        return np.full(4, np.inf)
    rest = right - left - x - width, bottom - top - y - height
    most = np.array([(x + width / 2).min(), (y + height / 2).min(), (rest[0] + width / 2).min(),
                     (rest[1] + height / 2).min()])  # fmt: skip
    return most if upright else np.full(4, most.min())


def _matrix(box: np.ndarray, corners: np.ndarray) -> np.ndarray:
    return cv2.getPerspectiveTransform(box, corners.astype(np.float32))


def _reach(box: np.ndarray, room: np.ndarray, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and greatest x and y of ``box`` with ``room`` (2,) around it, where its own corners go to ``world``."""
    rim = box + room * ((-1, -1), (1, -1), (1, 1), (-1, 1))
    projected = cv2.perspectiveTransform(rim[None], _matrix(box, world))[0]
    return projected.min(0), projected.max(0)


def _corners(
    box: np.ndarray, upright: bool, letters: int, effects: Effects, height: int, depth: float, rng: Generator
) -> np.ndarray:
    """The word's corners (4, 2) around (0, 0) as a camera sees them: slanted, from aside, turned.

    Words that would have fewer than ``_LEAST_PER_LETTER`` pixels of the crop's height a letter are not turned by 90
    degrees.

    Args:
        depth: how much of the perspective its upper and its lower edge get, 0 to 1.
    """
    half_width, half_height = box[2]
    corners = box.astype(np.float64)
    if rng.random() < effects.slant and not upright:
        corners[:, 0] -= np.clip(rng.normal(0, 0.18), -0.5, 0.5) * corners[:, 1]
    if rng.random() < effects.perspective:
        far = np.clip(rng.normal(0, 0.12, 2), -0.3, 0.3)
        corners[:, 1] *= 1 + far[0] * corners[:, 0] / half_width
        corners[:, 0] *= 1 + depth * far[1] * corners[:, 1] / half_height
        corners[:, 1] += np.clip(rng.normal(0, 0.06), -0.15, 0.15) * corners[:, 0]
    if rng.random() < effects.rotation:
        degrees = rng.normal(0, 5) if rng.random() < 0.75 else rng.normal(0, 16)
        thin = 0.6 * half_width / half_height if upright else 1.4 * half_height / half_width
        most = np.rad2deg(np.arcsin(min(0.64, thin)))  # long words would become thin
        angle = np.deg2rad(np.clip(degrees, -most, most))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = corners @ turn
    if rng.random() < effects.quarter_turn and not upright and letters * _LEAST_PER_LETTER <= height:
        corners = corners[:, ::-1] * rng.choice(((1, -1), (-1, 1)))
    return corners
