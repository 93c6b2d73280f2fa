"""End-to-end accuracy on photographs (detection and recognition), by the rules of ICDAR 2015's task 4.4.

A word is read correctly if the intersection over union with a prediction is at least ``LEAST_OVERLAP``, and their
letters and digits agree except for case. Words marked ``ILLEGIBLE``, and predictions mostly inside them, are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dptr.evaluation.metrics import fold_36

ILLEGIBLE = "###"
LEAST_OVERLAP = 0.5

Spotted = tuple[Float[np.ndarray, "4 2"], str]
"""A word: its corners in pixels, a convex polygon of either orientation, and its text."""


@dataclass(frozen=True)
class Spotting:
    """Counts of words, which can be summed over pictures.

    Attributes:
        words: legible words.
        predictions: those that are not ignored.
        found: words that match a prediction.
        read: words that match a prediction with the right text.
    """

    words: int = 0
    predictions: int = 0
    found: int = 0
    read: int = 0

    def __add__(self, other: Spotting) -> Spotting:
        return Spotting(
            self.words + other.words,
            self.predictions + other.predictions,
            self.found + other.found,
            self.read + other.read,
        )

    def rates(self, end_to_end: bool = True) -> tuple[float, float, float]:
        """Precision, recall, and their harmonic mean, 0 to 1; of detection only if not ``end_to_end``."""
        hits = self.read if end_to_end else self.found
        precision, recall = hits / max(self.predictions, 1), hits / max(self.words, 1)
        return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def score_words(predicted: Sequence[Spotted], labeled: Sequence[Spotted]) -> Spotting:
    """Match predicted to labeled words of one picture, one to one.

    Each labeled word, in order, is matched to the free prediction with the largest overlap.
    """
    legible = [text != ILLEGIBLE and bool(fold_36(text)) for _, text in labeled]
    counted = [index for index, (box, _) in enumerate(predicted) if not _lies_in_illegible(box, labeled, legible)]
    free = set(counted)
    found = read = 0
    for (box, text), counts in zip(labeled, legible, strict=True):
        if not counts or not free:
            continue
        overlap, best = max((intersection_over_union(box, predicted[index][0]), index) for index in free)
        if overlap >= LEAST_OVERLAP:
            free.remove(best)
            found += 1
            read += fold_36(predicted[best][1]) == fold_36(text)
    return Spotting(sum(legible), len(counted), found, read)


def _lies_in_illegible(box: np.ndarray, labeled: Sequence[Spotted], legible: Sequence[bool]) -> bool:
    area = polygon_area(box)
    return any(
        not counts and area > 0 and polygon_area(intersect(box, other)) > area / 2
        for (other, _), counts in zip(labeled, legible, strict=True)
    )


def intersection_over_union(one: Float[np.ndarray, "n 2"], two: Float[np.ndarray, "m 2"]) -> float:
    """The intersection over union of two convex polygons, 0 to 1."""
    if not min(polygon_area(one), polygon_area(two)):
        return 0.0
    shared = polygon_area(intersect(one, two))
    return shared / (polygon_area(one) + polygon_area(two) - shared)


def polygon_area(polygon: Float[np.ndarray, "n 2"]) -> float:
    """The area by the shoelace formula, >= 0."""
    if len(polygon) < 3:
        return 0.0
    x, y = np.asarray(polygon, float).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def intersect(one: Float[np.ndarray, "n 2"], two: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "k 2"]:
    """The intersection of two convex polygons (Sutherland and Hodgman 1974); k = 0 if it is empty."""
    shared = [tuple(point) for point in np.asarray(one, float).tolist()]
    x, y = np.asarray(two, float).T
    sense = 1.0 if x @ np.roll(y, -1) - y @ np.roll(x, -1) > 0 else -1.0
    corners = np.asarray(two, float).tolist()
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        clipped = []
        sides = [sense * ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) for px, py in shared]
        for index, (point, side) in enumerate(zip(shared, sides, strict=True)):
            before, other = shared[index - 1], sides[index - 1]
            if (side >= 0) != (other >= 0):
                part = other / (other - side)
                clipped.append((before[0] + part * (point[0] - before[0]), before[1] + part * (point[1] - before[1])))
            if side >= 0:
                clipped.append(point)
        shared = clipped
    return np.array(shared).reshape(-1, 2)
