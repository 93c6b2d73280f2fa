"""Painting: block letters, double outlines, sign_board."""

from __future__ import annotations

import numpy as np
import pytest

from dptr.config.effects import PRESETS
from dptr.config.render import RenderConfig
from dptr.config.size import CropSize
from dptr.synth import Renderer, colors, sign_board
from dptr.synth.layout import Line
from dptr.synth.paint import extrude
from dptr.synth.sign_board import SignBoard
from dptr.synth.warp import warp_line

SHAPE = (48, 192)


def square() -> np.ndarray:
    mask = np.zeros(SHAPE, np.float32)
    mask[20:30, 80:90] = 1
    return mask


@pytest.mark.parametrize("shift", [(8, 0), (-8, 0), (0, 7), (6, -6), (-5, 9)])
def test_letters_reach_into_the_depth_in_one_direction(shift):
    """The sides cover what the mask sweeps, found by brute force, and are darkest at the back."""
    background = np.full((*SHAPE, 3), 200, np.float32)
    painted = extrude(background, np.full(3, 90, np.float32), square(), np.array(shift, float))[..., 0]
    swept = np.zeros(SHAPE, bool)
    for part in np.linspace(0, 1, 50):
        dx, dy = np.round(part * np.array(shift)).astype(int)
        swept[20 + dy : 30 + dy, 80 + dx : 90 + dx] = True
    found = painted < 145
    assert (found ^ swept).sum() <= 24  # half pixels along slanted edges
    y, x = np.nonzero(found)
    center = np.array((x.mean() - 84.5, y.mean() - 24.5))
    assert center @ shift / np.linalg.norm(shift) == pytest.approx(np.linalg.norm(shift) / 2, abs=0.8)
    assert abs(center @ (-shift[1], shift[0])) / np.linalg.norm(shift) < 0.5
    assert painted[found].min() == pytest.approx(60, abs=2) and painted[found].max() < 145
    ends = [np.stack((x, y), 1)[painted[y, x] < 62].mean(0), np.stack((x, y), 1)[painted[y, x] > 80].mean(0)]
    assert (ends[0] - ends[1]) @ shift > 0


def test_a_second_outline_lies_around_the_first(font_folder):
    single, double = (
        Renderer(
            RenderConfig(preset="plain", effects={"outline": 1, "double_outline": share}, fonts=(str(font_folder),)),
            0,
            size=CropSize(height=64),
        )
        for share in (0, 1)
    )
    changed = 0
    for index in range(20):
        one, two = (renderer.render("HI", index).astype(int) for renderer in (single, double))
        difference = np.abs(one - two).max(2) > 40
        changed += 0.02 < difference.mean() < 0.6
    assert changed >= 15


@pytest.fixture
def board() -> SignBoard:
    return SignBoard(np.array((100.0, 20.0)), np.array((8.0, 6.0)), np.array([(1, 0, 40.0), (0, 1, 14), (0, 0, 1)]))


def test_a_board_is_a_rectangle_around_the_word(board):
    area = board.area(SHAPE)
    truth = np.zeros(SHAPE, bool)
    truth[14 - 6 : 14 + 26, 40 - 8 : 40 + 108] = True
    assert ((area > 0.5) ^ truth).sum() <= 2 * (SHAPE[0] + SHAPE[1])  # the edge's own pixels
    smaller = board.area(SHAPE, inset=3).sum()
    assert (116 - 6) * (32 - 6) <= smaller < (116 - 4) * (32 - 4)  # OpenCV paints the pixels of the edge as well
    radius = 10.0
    assert area.sum() - board.area(SHAPE, 0, radius).sum() == pytest.approx((4 - np.pi) * radius**2, rel=0.3)
    disc = board.disc(SHAPE, np.array((50.0, 10.0)), 6.0)
    assert np.pi * 5.7**2 < disc.sum() < np.pi * 6.7**2 and disc[24, 90] == 1


def test_a_board_leaves_its_face_and_what_lies_beyond(board):
    face, beyond = (np.full((*SHAPE, 3), value, np.float32) for value in (200, 50))
    borders = 0
    for seed in range(40):
        image = sign_board.draw_sign_board(
            face, beyond, np.array((250, 0, 0), np.float32), board, np.random.default_rng(seed)
        )
        np.testing.assert_allclose(image[14:34, 40:140], 200, atol=1)  # the word's place
        assert image[:3].max() <= 50 + 1e-3 and image[-3:].max() <= 50 + 1e-3
        borders += (image[..., 0] - image[..., 1]).max() > 150
    assert 22 <= borders <= 39


def test_the_board_follows_the_word(font_folder):
    """InkStyle lies within the board, whatever the camera does, and the board is seen whole in most crops."""
    effects = PRESETS["plain"].model_copy(
        update={"sign_board": 1.0, "rotation": 1.0, "perspective": 1.0, "slant": 1.0, "outline": 0.5}
    )
    block = Line(np.full((45, 200), 255, np.uint8), (0, 0, 200, 45), np.zeros((1, 2, 2)))
    whole = 0
    for seed in range(60):
        word = warp_line(block, effects, CropSize(), np.random.default_rng(seed))
        assert word.board is not None
        area = word.board.area(word.fill.shape)
        assert (word.outline * (1 - area)).sum() < 0.01 * word.outline.sum()
        assert area.sum() > 1.2 * word.fill.sum()
        whole += np.concatenate((area[0], area[-1], area[:, 0], area[:, -1])).mean() < 0.1
    assert whole > 35
    among = Line(np.full((90, 200), 255, np.uint8), (0, 0, 200, 45), np.zeros((1, 2, 2)))
    assert warp_line(among, effects, CropSize(), np.random.default_rng(0)).board is None


def test_crops_with_boards_differ_at_their_edges(font_folder):
    config = RenderConfig(preset="plain", effects={"sign_board": 1.0}, fonts=(str(font_folder),))
    renderer = Renderer(config, 0)
    corners = []
    for index in range(30):
        crop = renderer.render("Hotel", index).astype(np.float32) @ colors.LUMA
        corners.append(abs(crop[0, 0] - np.median(crop)) > 10)
    assert np.mean(corners) > 0.6
