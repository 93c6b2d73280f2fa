"""The perspective warp of a word's mask into its crop, with the contour of the letters and the place of a board."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from dptr.config.effects import Effects
from dptr.synth import layout
from dptr.synth.sign_board import SignBoard
from dptr.utils.sizes import Size, Sizes

_MIN_LETTER_PIXELS = 4  # pixels of the crop's height that a letter of a word turned by 90 degrees needs
_MAX_CUT = np.array((0.2, 0.16, 0.2, 0.16))  # largest cut at the left, top, right and bottom, in heights of the word
_SCALE = 1.5  # the word is painted at this multiple of the crop's final size


@dataclass(frozen=True)
class WordMask:
    """A word in its crop, before it is painted. ``h`` and ``w`` are ``_SCALE`` times the size of the crop.

    Attributes:
        fill: mask of the ink, float32 (h, w) in [0, 1].
        outline: mask of the ink and its contour, float32 (h, w) in [0, 1]; the same object as ``fill`` if the word gets
            no contour.
        aspect: width / height of the crop as the camera sees it, before it is stretched.
        stops: float32 (letters, 2), see ``Renderer.render_with_stops``.
        board: the sign board on which the word stands; None = no board is visible.
        size: height and width of the finished crop in pixels.
        ground: the background if it is already drawn, float32 (h, w, 3), RGB in [0, 255]; None = ``paint`` draws it.
        ink: (3,), the letters' color on ``ground``; None = ``paint`` chooses it.
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
    """Warp a line into its crop: as a camera sees it, with margins, stretched to the size that ``size`` chooses."""
    mask, (left, top, right, bottom) = line.mask, line.box
    is_alone = mask.shape == (bottom - top, right - left)
    margin = 6
    mask, ground = layout.pad(mask, margin, margin), line.ground
    left, top, right, bottom = left + margin, top + margin, right + margin, bottom + margin
    if rng.random() < effects.outline:
        outline = layout.embolden(mask, int(rng.integers(2, 6)))
        extra = (outline.shape[0] - mask.shape[0]) // 2
        mask = np.dstack((layout.pad(mask, extra, extra), outline))
        left, top, right, bottom = left + extra, top + extra, right + extra, bottom + extra
        margin += extra
    if ground is not None:
        ground = cv2.copyMakeBorder(ground, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    box = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    stops = np.add(line.stops, (left - line.box[0], top - line.box[1]))
    depth = 1.0 if ground is None else 3 * (bottom - top) / (right - left)
    corners = _place_corners(box - box.mean(0), line.upright, len(stops), effects, size.height, min(1.0, depth), rng)
    low, high = corners.min(0), corners.max(0)
    word_height = min(bottom - top, high[1] - low[1])
    if line.upright:
        word_height = min(word_height, right - left)
    if line.across is not None:  # such as on an arc: the height of its letters
        word_height /= line.rows
    full_box, room = box.copy(), None
    if is_alone and effects.sign_board and rng.random() < effects.sign_board:
        room = rng.uniform(0.2, 0.45, 2) * min(word_height, layout.SIZE)
        low, high = _project_bounds(box, room, corners)
    runs_across = bool(abs(corners[1, 0] - corners[0, 0]) >= abs(corners[1, 1] - corners[0, 1]))
    margins = _choose_margins(line, runs_across, word_height, effects, rng)
    low, high = low - margins[:2] * word_height, high + margins[2:] * word_height
    aspect = float((high[0] - low[0]) / (high[1] - low[1]))
    crop_size = size.choose(aspect)
    height, width = (round(side * _SCALE) for side in crop_size)
    # The warp would skip pixels of a mask that is much larger than the crop, so they are averaged before.
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
    target = (corners - low) / (high - low) * (width, height)
    matrix = _find_transform(box, target)
    warped = cv2.warpPerspective(mask, matrix, (width, height), flags=cv2.INTER_LINEAR)
    layers = [layer.astype(np.float32) / 255 for layer in cv2.split(warped)]
    if ground is not None:
        ground = cv2.warpPerspective(
            ground, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)
    projected = np.empty((0, 2))
    if len(stops):
        projected = cv2.perspectiveTransform(stops.reshape(-1, 1, 2), matrix).reshape(-1, 2, 2)[..., 0] / width
    projected[np.isnan(line.stops).any((1, 2))] = np.nan  # OpenCV projects NaN to 0
    if not runs_across:
        projected[:] = np.nan
    board = None
    if room is not None:
        board = SignBoard(full_box[2] - full_box[0], room, _find_transform(full_box - full_box[0], target))
    return WordMask(layers[0], layers[-1], aspect, projected.astype(np.float32), board, crop_size, ground, line.ink)


def _choose_margins(
    line: layout.Line, runs_across: bool, word_height: float, effects: Effects, rng: Generator
) -> np.ndarray:
    """Random margins of a crop: left, above, right, and below (4,), in word heights; negative = cut into the word.

    Args:
        runs_across: whether the word runs from left to right in the crop, not up or down.
        word_height: in pixels of the line's mask.
    """
    kinds = rng.random(4)
    margins = np.where(kinds < 0.12, rng.uniform(-0.07, 0.02, 4),
                       np.where(kinds < 0.85, rng.uniform(0.0, 0.18, 4), rng.uniform(0.15, 0.5, 4)))  # fmt: skip
    if effects.cut and rng.random() < effects.cut:
        sides = rng.random(4) < 0.35
        sides[rng.integers(4)] = True
        margins = np.where(sides, -rng.uniform(0.02, _MAX_CUT), margins)
    is_cut = margins < 0
    if is_cut.any():
        shared = 1 + (is_cut & is_cut[[2, 3, 0, 1]])  # two opposite sides share what may be cut
        margins = np.maximum(margins, -_find_max_cut(line, runs_across) / (word_height * shared))
    return margins


def _find_max_cut(line: layout.Line, runs_across: bool) -> np.ndarray:
    """How far a crop may cut into a word on the left, above, on the right, and below (4,), in pixels of its mask.

    No connected component of the ink (a letter, a dot, a mark) loses more than half of its width or height. For a word
    that runs up or down, all four values are the least of them.
    """
    left, top, right, bottom = line.box
    ink = (line.mask[top:bottom, left:right] > 127).astype(np.uint8)
    x, y, width, height, _ = cv2.connectedComponentsWithStats(ink)[2][1:].T
    if not len(x):
        return np.full(4, np.inf)
    space_after = right - left - x - width, bottom - top - y - height
    max_cut = np.array([(x + width / 2).min(), (y + height / 2).min(), (space_after[0] + width / 2).min(),
                     (space_after[1] + height / 2).min()])  # fmt: skip
    return max_cut if runs_across else np.full(4, max_cut.min())


def _find_transform(box: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The perspective transform (3, 3) that maps the corners ``box`` (4, 2) to ``corners`` (4, 2)."""
    return cv2.getPerspectiveTransform(box, corners.astype(np.float32))


def _project_bounds(box: np.ndarray, room: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of ``box`` enlarged by ``room`` (2,), under the transform that maps ``box`` to ``corners``.

    Returns:
        The least x and y, and the greatest x and y.
    """
    rim = box + room * ((-1, -1), (1, -1), (1, 1), (-1, 1))
    projected = cv2.perspectiveTransform(rim[None], _find_transform(box, corners))[0]
    return projected.min(0), projected.max(0)


def _place_corners(
    box: np.ndarray, upright: bool, letters: int, effects: Effects, height: int, depth: float, rng: Generator
) -> np.ndarray:
    """The corners (4, 2) of a word as a camera sees them: slanted, in perspective, and rotated.

    A word is not turned by 90 degrees if a letter would then get fewer than ``_MIN_LETTER_PIXELS`` pixels of the crop's
    height.

    Args:
        box: corners of the word in its mask, around (0, 0), clockwise from the upper left.
        upright: whether the letters stand one below the other.
        letters: how many letters the word has.
        height: of the crop in pixels.
        depth: strength of the perspective that makes the upper edge longer or shorter than the lower one, 0 to 1.
    """
    half_width, half_height = box[2]
    corners = box.astype(np.float64)
    if rng.random() < effects.slant and not upright:
        corners[:, 0] -= np.clip(rng.normal(0, 0.18), -0.5, 0.5) * corners[:, 1]
    if rng.random() < effects.perspective:
        perspective = np.clip(rng.normal(0, 0.12, 2), -0.3, 0.3)
        corners[:, 1] *= 1 + perspective[0] * corners[:, 0] / half_width
        corners[:, 0] *= 1 + depth * perspective[1] * corners[:, 1] / half_height
        corners[:, 1] += np.clip(rng.normal(0, 0.06), -0.15, 0.15) * corners[:, 0]
    if rng.random() < effects.rotation:
        degrees = rng.normal(0, 5) if rng.random() < 0.75 else rng.normal(0, 16)
        max_sine = 0.6 * half_width / half_height if upright else 1.4 * half_height / half_width
        max_degrees = np.rad2deg(np.arcsin(min(0.64, max_sine)))  # a long word that is rotated much becomes too small
        angle = np.deg2rad(np.clip(degrees, -max_degrees, max_degrees))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = corners @ turn
    if rng.random() < effects.quarter_turn and not upright and letters * _MIN_LETTER_PIXELS <= height:
        corners = corners[:, ::-1] * rng.choice(((1, -1), (-1, 1)))
    return corners
