"""The Feature Merge Unit against torch's attention with copied weights."""

from __future__ import annotations

import math

import pytest
import torch
from helpers_reference import attend, feed_forward, loud, norm

from dptr.models.fmu import FMU, counting_loss, running_count, sinusoids

GRID = (2, 5)  # rows and columns


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
    torch.testing.assert_close(fmu(image, GRID), norm(fmu.norm, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("queries", [1, 26, 50])
def test_any_count_of_queries_starts_as_a_truncated_normal(queries):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fmu = FMU(512, queries, 8, 1, 12)
    assert fmu(tokens(2), GRID).shape == (2, queries, 512)
    drawn = fmu.queries.detach()[0]
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.1)
    assert abs(float(drawn.mean())) < 0.005
    assert len(torch.unique(drawn, dim=0)) == queries


@torch.no_grad()
def test_counted_tokens_equal_an_independent_computation():
    """Two rows of five columns: column averages, softplus, what is left of each middle, sines and cosines, added."""
    fmu = loud(FMU(16, 5, 4, 1, 12, count=True))
    image = tokens()
    told = image.clone()
    for word in range(3):
        passed = 0.0
        for column in range(5):
            mean = (image[word, column] + image[word, 5 + column]) / 2
            held = math.log1p(math.exp(float(fmu.counter.weight[0] @ mean + fmu.counter.bias)))
            assert float(fmu.density(image, GRID)[word, column]) == pytest.approx(held, abs=1e-5)
            middle, passed = passed + held / 2, passed + held
            for pair in range(6):
                angle = middle * math.pi / 64 ** (pair / 6)
                for row in (0, 5):
                    told[word, row + column, pair] += math.sin(angle)
                    told[word, row + column, 6 + pair] += math.cos(angle)
    torch.testing.assert_close(fmu.add_running_count(image, fmu.density(image, GRID), GRID), told, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fmu(image, GRID), fmu.merge(told), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_column_is_one_column_in_grids_of_any_height():
    """The same ten tokens in one, two and five rows: each time the count goes by column, and rows of one share it."""
    fmu = loud(FMU(16, 5, 4, 1, 12, count=True))
    image = tokens()
    for rows, columns in ((1, 10), (2, 5), (5, 2)):
        density = fmu.density(image, (rows, columns))
        mean = torch.stack([image[:, column::columns].mean(1) for column in range(columns)], 1)
        torch.testing.assert_close(density, torch.nn.functional.softplus(fmu.counter(mean))[..., 0])
        added = fmu.add_running_count(image, density, (rows, columns)) - image
        expected = sinusoids(running_count(density), 12)
        for token in range(10):
            torch.testing.assert_close(added[:, token], expected[:, token % columns], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_leading_token_is_in_no_column():
    """It is neither counted nor told, and queries look at it as at any other token."""
    fmu = loud(FMU(16, 5, 4, 1, 12, count=True))
    whole = FMU(16, 5, 4, 1, 12, count=True, leading=1)
    whole.load_state_dict(fmu.state_dict())
    image = tokens(length=11)
    density = whole.density(image, GRID)
    assert torch.equal(density, fmu.density(image[:, 1:], GRID))
    told = whole.add_running_count(image, density, GRID)
    assert torch.equal(told[:, :1], image[:, :1]) and torch.equal(
        told[:, 1:], fmu.add_running_count(image[:, 1:], density, GRID)
    )
    assert torch.equal(whole(image, GRID), whole.merge(told))
    assert not torch.allclose(whole(image, GRID), fmu(image[:, 1:], GRID))
    shares = whole.attention(told, GRID)
    assert shares.shape == (3, 5, 5) and (shares.sum(-1) < 1).all()


def test_the_count_is_that_of_what_stands_left_of_a_columns_middle():
    density = torch.tensor([[1.0, 0.0, 2.0, 1.0]])
    assert running_count(density).tolist() == [[0.5, 1.0, 2.0, 3.5]]


def test_a_query_starts_at_the_middle_of_its_character():
    """Told the true count, query i's own code is nearest to the column in the middle of character i."""
    fmu = FMU(32, 8, 4, 1, 32, count=True)
    places = running_count(torch.full((1, 32), 0.25))  # a character every four columns
    fits = fmu.queries[0] @ sinusoids(places[0], 32).T
    middles = fits.argmax(1).tolist()
    assert all(middle in (4 * i + 1, 4 * i + 2) for i, middle in enumerate(middles))


@torch.no_grad()
@pytest.mark.parametrize("count", [False, True])
def test_attention_is_what_the_first_layer_gives_its_columns(count):
    """With values that are one-hot by column, the layer's own output is its attention."""
    fmu = loud(FMU(16, 5, 1, 1, 12, count))
    image = tokens()
    shares = fmu.attention(image, (1, 10))
    assert shares.shape == (3, 5, 10)
    torch.testing.assert_close(shares.sum(-1), torch.ones(3, 5))
    layer = fmu.layers[0].attention
    projected = layer.project(image)
    projected[1] = 0
    projected[1, :, 0, :, :10] = torch.eye(10)
    layer.out.weight.copy_(torch.eye(16))
    layer.out.bias.zero_()
    mixed = layer.attend(fmu.layers[0].norm1(fmu.queries.expand(3, -1, -1)), projected)
    torch.testing.assert_close(mixed[..., :10], shares)


@pytest.mark.parametrize("count", [False, True])
def test_gradient_reaches_every_parameter(count):
    fmu = loud(FMU(16, 5, 4, 2, 12, count))
    fmu(tokens(), GRID).square().sum().backward()
    assert [name for name, parameter in fmu.named_parameters() if not parameter.grad.any()] == []
    assert bool(fmu.queries.grad.any(-1).all())  # every query, not only some


def test_the_counting_loss_is_the_share_of_symbols_counted_wrong():
    """By hand: 3 counted where 4 stand, 1 where 1 stands, half a character where nothing is written: 1.5 of 8."""
    density = torch.tensor([[1.0, 2.0], [0.75, 0.25], [0.25, 0.25]])
    torch.testing.assert_close(counting_loss(density, torch.tensor([4, 1, 0])), torch.tensor(1.5 / 8))


def test_the_counting_loss_leads_to_the_number_of_characters():
    """Columns with and without a letter, eight a crop, teach to count in lines of 64."""
    generator = torch.Generator().manual_seed(0)
    fmu = FMU(16, 5, 4, 1, 12, count=True)
    letter, ground = torch.randn(2, 12, generator=generator)

    def crops(width: int) -> tuple[torch.Tensor, torch.Tensor]:
        written = torch.rand(32, width, generator=generator) < 0.4
        return torch.where(written[..., None], letter, ground), written.sum(1)

    optimizer = torch.optim.Adam(fmu.counter.parameters(), 0.1)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 300)
    for _ in range(300):
        image, characters = crops(8)
        optimizer.zero_grad()
        counting_loss(fmu.density(image, (1, 8)), characters).backward()
        optimizer.step()
        decay.step()
    image, characters = crops(64)
    assert (fmu.density(image, (1, 64)).sum(1) - characters).abs().max() < 1
