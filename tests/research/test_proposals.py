"""Words that ``dptr label`` would accept, counted by hand."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from helpers_docs import ROOT

from dptr.label.item import Proposal, State


def box(x: float) -> tuple[tuple[float, float], ...]:
    return (x, 0.0), (x + 40, 0.0), (x + 40, 20.0), (x, 20.0)


def test_accepted_words_are_counted_and_those_that_nobody_could_read_are_not_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "research" / "evidence"))
    proposals = importlib.import_module("proposals")

    def word(x: float, text: str, state: State = "sure") -> Proposal:
        return Proposal(box(x), text, 0.9, state)

    labeled = [(np.array(box(x)), text) for x, text in ((0, "exit"), (100, "###"), (200, "to"), (300, "all"))]
    first = [word(2, "EXIT"), word(100, "what"), word(200, "too"), word(300, "all", "open")]
    accepted, scores = proposals.score_accepted([(first, labeled), ([word(0, "exit")], labeled[:1])])
    assert (accepted, scores.predictions, scores.read) == (4, 3, 2)
