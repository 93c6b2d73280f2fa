"""Rows of places in a word from one longest word to another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dptr.models.fmu import sinusoids
from dptr.models.resize_positions import center_rows, extend_rows, repeat_last_row, resize_rows


def rows(count: int, seed: int, mean: float = 0.0, deviation: float = 1.0) -> Tensor:
    return mean + deviation * torch.randn(1, count, 64, generator=torch.Generator().manual_seed(seed))


def test_further_rows_have_the_mean_and_the_deviation_of_the_learned_ones():
    learned, fresh = rows(26, 0, 3.0, 0.1), rows(200, 1, 0.0, 0.5)
    made = extend_rows(learned, fresh)
    assert torch.equal(made[:, :26], learned)
    further = made[:, 26:]
    assert further.mean() == pytest.approx(3.0, abs=0.02) and further.std() == pytest.approx(0.1, rel=0.1)
    assert (torch.cdist(further[0], further[0]) + torch.eye(174)).min() > 0.1  # each its own


def test_rows_that_began_as_sinusoids_go_on_as_sinusoids():
    """Training moved all of them alike: so do the further ones lie."""
    start = sinusoids(torch.arange(41) + 0.5, 64)[None]
    drift = rows(1, 0)
    torch.testing.assert_close(extend_rows(start[:, :26] + drift, start), start + drift, atol=1e-5, rtol=1e-5)


def test_one_row_is_continued_by_itself():
    learned = rows(1, 0)
    torch.testing.assert_close(extend_rows(learned, rows(4, 1)), learned.expand(-1, 4, -1))


def test_copies_of_the_last_row():
    learned = rows(3, 0)
    made = repeat_last_row(learned, rows(5, 1))
    assert torch.equal(made, learned[:, [0, 1, 2, 2, 2]])


@pytest.mark.parametrize(("learned_rows", "count"), [(3, 5), (5, 3), (1, 5), (3, 3)])
def test_rows_around_the_middle_stay_there(learned_rows, count):
    learned, fresh = rows(learned_rows, 0), rows(count, 1)
    made = center_rows(learned, fresh)
    for away in range(-(count // 2), count // 2 + 1):
        known = abs(away) <= learned_rows // 2
        source, middle = (learned, learned_rows // 2) if known else (fresh, count // 2)
        assert torch.equal(made[:, count // 2 + away], source[:, middle + away])


def test_rows_that_a_checkpoint_may_lack_are_fresh():
    module = nn.Module()
    module.register_parameter("down", nn.Parameter(rows(3, 1)))
    fitted, messages = resize_rows(module, {"down": "rows"}, {}, "part.")
    assert torch.equal(fitted["down"], module.down) and messages == ["part.down: 3 rows, zero"]


@pytest.mark.parametrize("fill", [extend_rows, repeat_last_row])
def test_fewer_rows_are_the_first_ones(fill):
    learned = rows(9, 0).half()
    made = fill(learned, rows(4, 1))
    assert made.dtype == torch.float32 and torch.equal(made, learned[:, :4].float())


def test_rows_that_fit_and_other_faults_are_left_alone():
    module = nn.Module()
    for name, count in (("same", 4), ("other", 5), ("lost", 3), ("narrow", 6)):
        module.register_parameter(name, nn.Parameter(rows(count, 1)))
    tensors = {"same": rows(4, 2), "other": rows(3, 2), "narrow": torch.zeros(1, 3, 8), "extra": torch.zeros(2)}
    kinds = dict.fromkeys(("same", "other", "lost", "narrow"), "characters")
    fitted, messages = resize_rows(module, kinds, tensors, "part.")
    assert messages == ["part.other: 3 to 5 rows, the first 3 kept, the others made like them"]
    assert fitted.keys() == tensors.keys()
    assert all(fitted[name] is tensors[name] for name in ("same", "narrow", "extra"))
    assert torch.equal(fitted["other"][:, :3], tensors["other"])
