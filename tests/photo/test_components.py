"""Regions and rectangles against floods and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from dptr.photo.components import convex_hull, label_runs, smallest_rectangle


def _flood(mask: np.ndarray) -> np.ndarray:
    """Labels by flood filling, 8 neighbors; -1 outside."""
    labels = np.full(mask.shape, -1)
    count = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start] >= 0:
            continue
        stack = [start]
        labels[start] = count
        while stack:
            y, x = stack.pop()
            for v in range(max(y - 1, 0), min(y + 2, mask.shape[0])):
                for u in range(max(x - 1, 0), min(x + 2, mask.shape[1])):
                    if mask[v, u] and labels[v, u] < 0:
                        labels[v, u] = count
                        stack.append((v, u))
        count += 1
    return labels


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.5, 0.7, 1.0])
def test_regions_are_those_of_a_flood(share: float) -> None:
    rng = np.random.default_rng(int(100 * share))
    for height, width in ((1, 1), (1, 30), (30, 1), (23, 31), (40, 17)):
        mask = rng.random((height, width)) < share
        runs, labels = label_runs(mask)
        drawn = np.full(mask.shape, -1)
        for (row, first, after), label in zip(runs, labels, strict=True):
            drawn[row, first:after] = label
        expected = _flood(mask)
        assert np.array_equal(drawn >= 0, mask)
        pairs = set(zip(drawn[mask].tolist(), expected[mask].tolist(), strict=True))
        assert len(pairs) == len({one for one, _ in pairs}) == len({two for _, two in pairs})
        assert sorted(set(labels.tolist())) == list(range(len(pairs)))


def test_the_hull_holds_all_points_and_is_convex() -> None:
    rng = np.random.default_rng(0)
    for count in (3, 5, 40):
        points = rng.integers(0, 12, (count, 2)).astype(float)
        points[:3] = ((0, 0), (11, 2), (4, 11))
        hull = convex_hull(points)
        sides = np.roll(hull, -1, 0) - hull
        following = np.roll(sides, -1, 0)
        assert (sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] > 0).all()
        offsets = points[:, None] - hull[None]
        assert (sides[None, :, 0] * offsets[..., 1] - sides[None, :, 1] * offsets[..., 0] >= -1e-9).all()


def test_the_rectangle_is_the_smallest_of_many_turned_ones() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        points = rng.normal(0, 1, (12, 2)) @ rng.normal(0, 5, (2, 2))
        box = smallest_rectangle(points)
        right, down = box[1] - box[0], box[3] - box[0]
        assert abs(right @ down) < 1e-6 * np.abs(points).max() ** 2
        assert right[0] * down[1] - right[1] * down[0] > 0  # clockwise, y down
        inside = (points - box[0]) @ np.stack((right / (right @ right), down / (down @ down)), 1)
        assert inside.min() > -1e-9 and inside.max() < 1 + 1e-9
        angles = np.linspace(0, np.pi / 2, 2000)
        turned = points @ np.stack((np.cos(angles), np.sin(angles)))
        across = points @ np.stack((-np.sin(angles), np.cos(angles)))
        least = (np.ptp(turned, 0) * np.ptp(across, 0)).min()
        area = np.linalg.norm(right) * np.linalg.norm(down)
        assert area <= least + 1e-9 and area > 0.98 * least


@pytest.mark.parametrize("points", [[[3, 4]], [[3, 4], [3, 4]], [[0, 0], [2, 2], [4, 4]]])
def test_points_without_area_have_a_flat_rectangle(points: list[list[int]]) -> None:
    box = smallest_rectangle(np.array(points, float))
    assert np.isfinite(box).all()
    assert np.linalg.norm(box[1] - box[0]) * np.linalg.norm(box[3] - box[0]) < 1e-9
