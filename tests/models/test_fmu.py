"""The Feature Merge Unit against torch's attention with copied weights."""

from __future__ import annotations

import pytest
import torch
from helpers_reference import attend, feed_forward, loud, norm

from dptr.models.fmu import FMU


def tokens(count: int = 3, length: int = 10) -> torch.Tensor:
    return torch.randn(count, length, 12, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_equals_an_independent_computation(layers):
    fmu = loud(FMU(16, 5, 4, layers, 12))
    image = tokens()
    x = fmu.queries.repeat(3, 1, 1)
    for layer in fmu.layers:
        x = x + attend(layer.attention, norm(layer.norm1, x), image)
        x = x + feed_forward(layer.feed_forward, norm(layer.norm2, x))
    torch.testing.assert_close(fmu(image), norm(fmu.norm, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("queries", [1, 26, 50])
def test_any_count_of_queries_starts_as_a_truncated_normal(queries):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fmu = FMU(512, queries, 8, 1, 12)
    assert fmu(tokens(2)).shape == (2, queries, 512)
    drawn = fmu.queries.detach()[0]
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.1)
    assert abs(float(drawn.mean())) < 0.005
    assert len(torch.unique(drawn, dim=0)) == queries


def test_gradient_reaches_every_parameter():
    fmu = loud(FMU(16, 5, 4, 2, 12))
    fmu(tokens()).square().sum().backward()
    assert [name for name, parameter in fmu.named_parameters() if not parameter.grad.any()] == []
    assert bool(fmu.queries.grad.any(-1).all())  # every query, not only some
