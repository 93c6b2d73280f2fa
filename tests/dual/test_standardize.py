"""A planted constant and scale are found and removed."""

from __future__ import annotations

import torch

from dptr.dual.standardize import measure


def test_a_planted_mean_and_deviation_are_taken_away():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(4000, 8, generator=generator)
    constant = torch.arange(8.0) * 10
    scale = measure(clean * 0.2 + constant)
    torch.testing.assert_close(scale.mean, constant, atol=0.02, rtol=0)
    assert abs(float(scale.deviation) - 0.2) < 0.005
    again = scale.apply((clean * 0.2 + constant).view(40, 100, 8))
    assert again.shape == (40, 100, 8)
    torch.testing.assert_close(again.flatten(0, 1), clean, atol=0.1, rtol=0.05)
    torch.testing.assert_close(again.mean((0, 1)), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(again.square().mean(), torch.tensor(1.0), atol=1e-4, rtol=0)
