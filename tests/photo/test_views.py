"""Only words are read that the best way to split a line needs, and the way is that of all words read."""

from __future__ import annotations

import numpy as np
import pytest

from dptr.inference.prediction import Prediction
from dptr.photo.spaces import Columns
from dptr.photo.split import Gaps, choose_words, possible_words
from dptr.photo.views import View


def _view(rng: np.random.Generator) -> View:
    count = int(rng.integers(1, 9))
    edges = np.sort(rng.random(2 * count))
    gaps = Gaps(tuple(zip(edges[::2], edges[1::2], strict=True)), tuple(rng.uniform(0.01, 0.96, count - 1)))
    columns = Columns(np.zeros(64), np.zeros(64), 8.0)
    return View(np.zeros((4, 2)), columns, gaps, possible_words(gaps, rng.uniform(1, 12)))


@pytest.mark.parametrize("sharpness", [0.05, 0.5, 5])
def test_the_way_is_that_of_all_words_read(sharpness: float) -> None:
    rng = np.random.default_rng(round(100 * sharpness))
    asked = possible = 0
    for _ in range(100):
        view = _view(rng)
        readings = {
            span: Prediction("" if rng.random() < 0.1 else "word", float(rng.random() ** sharpness), ())
            for span in view.spans
        }
        while unread := view.unread():
            assert not view.readings.keys() & set(unread)
            view.readings.update((span, readings[span]) for span in unread)
        confidences = {span: one.confidence if one.text else 0.0 for span, one in readings.items()}
        expected, _ = choose_words(view.gaps, confidences)
        spans, mean = view.words()
        assert spans == expected
        assert mean == pytest.approx(np.mean([np.log(max(confidences[span], 1e-6)) for span in expected]))
        asked, possible = asked + len(view.readings), possible + len(view.spans)
    assert asked < (0.9 if sharpness > 1 else 0.6) * possible
