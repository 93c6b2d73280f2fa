"""The convolution-then-attention encoder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers_reference import loud, norm, torch_block
from torch import nn

from dptr.models.encoders.svtr import SIZES, SVTR


@pytest.fixture(scope="module")
def svtr() -> SVTR:
    model = loud(SVTR("nano", 32, 64)).eval()
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # else the running statistics are 0 and 1: left out, nobody would see
            module.running_mean = torch.randn(module.num_features, generator=generator) * 0.1
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
    return model


def pixels(count: int, height: int = 32, width: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def reference_maps(model: SVTR, x: torch.Tensor) -> torch.Tensor:
    """The convolutions, one after the other: stem (2, 2), stages (2, 2), (2, 1), (2, 1), blocks of 1, 1, 0, merge."""

    def convolve(x, convolution, bn, stride, padding=1):
        x = F.conv2d(x, convolution.weight.contiguous(), stride=stride, padding=padding)
        shaped = [value.view(-1, 1, 1) for value in (bn.running_mean, bn.running_var, bn.weight, bn.bias)]
        return (x - shaped[0]) / (shaped[1] + bn.eps).sqrt() * shaped[2] + shaped[3]

    def blocks(x, body):
        inside = F.relu(convolve(x, body[0], body[1], 1))
        return F.relu(x + convolve(inside, body[3], body[4], 1))

    x = F.relu(convolve(x, model.stem[0], model.stem[1], 2))
    first, block1, second, block2, third, merge = model.stages
    x = blocks(F.relu(convolve(x, first[0], first[1], 2)), block1.body)
    x = blocks(F.relu(convolve(x, second[0], second[1], (2, 1))), block2.body)
    x = F.relu(convolve(x, third[0], third[1], (2, 1)))
    return F.relu(convolve(x, merge[0], merge[1], (2, 1), 0))


@torch.no_grad()
def test_equals_an_independent_computation(svtr):
    maps = reference_maps(svtr, pixels(2))
    assert maps.shape == (2, 128, 1, 16)
    x = torch.stack([maps[:, :, 0, column] for column in range(16)], 1)
    x = x + svtr.positions
    for block in svtr.blocks:
        x = torch_block(block)(x)
    torch.testing.assert_close(svtr(pixels(2)), norm(svtr.norm, x), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def several_heights() -> SVTR:
    """A network of 32 pixels high images that reads up to 64, its row positions away from zero."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = loud(SVTR("nano", 32, 64, 128, 64)).eval()
        nn.init.normal_(model.row_positions)
    return model


@torch.no_grad()
def test_images_of_any_height_equal_an_independent_computation():
    """The merging convolution slides down; a token is told its column, and its distance from the middle row."""
    model = several_heights()
    assert model.row_positions.shape == (1, 5, 128) and model.per_position()["row_positions"] == "rows"
    middle = {1: [2], 2: [1, 3], 3: [0, 2, 4]}  # rows of the table for one, two and three rows of tokens
    for (height, width), rows in {(32, 128): 1, (40, 112): 2, (48, 96): 2, (64, 64): 3}.items():
        x = pixels(2, height, width)
        maps = model.stages(model.stem(x))
        assert maps.shape == (2, 128, rows, width // 4)
        told = torch.stack(
            [
                maps[:, :, row, column] + model.positions[:, column] + model.row_positions[:, middle[rows][row]]
                for row in range(rows)
                for column in range(width // 4)
            ],
            1,
        )
        for block in model.blocks:
            told = torch_block(block)(told)
        tokens, grid = model.with_grid(x)
        assert grid == (rows, width // 4)
        torch.testing.assert_close(tokens, norm(model.norm, told), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_row_of_a_high_image_is_what_an_image_of_that_row_shows():
    """Before attention and positions: far from borders, the middle row of 64 pixels is the only one of its 32."""
    model = several_heights()
    high = pixels(1, 64, 64)
    high[:, :, :16] = high[:, :, 48:] = 0  # what padding is to the middle half alone
    whole, half = (model.stages(model.stem(x)) for x in (high, high[:, :, 16:48]))
    flat = (whole[:, :, 1] - half[:, :, 0]).abs().mean() / half.abs().mean()
    assert float(flat) < 0.5 and torch.nn.functional.cosine_similarity(whole[0, :, 1].T, half[0, :, 0].T).mean() > 0.9


@torch.no_grad()
def test_a_network_of_one_height_goes_on_with_several():
    """Same weights, row positions at zero: images of the usual height give the same tokens to the bit."""
    before, after = several_heights(), SVTR("nano", 32, 64, 128).eval()
    nn.init.zeros_(before.row_positions)
    state = before.state_dict()
    del state["row_positions"]
    after.load_state_dict(state)
    assert after.row_positions is None
    for width in (64, 128):
        assert torch.equal(before(pixels(2, 32, width)), after(pixels(2, 32, width)))


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_tokens_of_every_size(size):
    model = SVTR(size, 16, 32).eval()
    assert model.grid == (1, 8)
    assert model(pixels(2, 16, 32)).shape == (2, 8, model.dim)


@torch.no_grad()
def test_an_image_alone_equals_the_image_in_a_batch(svtr):
    images = pixels(3)
    torch.testing.assert_close(svtr(images[1:2]), svtr(images)[1:2], atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_parameter():
    model = loud(SVTR("nano", 16, 32))
    model(pixels(2, 16, 32)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize(("height", "width"), [(24, 128), (32, 126)])
def test_an_image_that_the_strides_do_not_divide(height, width):
    with pytest.raises(ValueError, match=f"{height}x{width}"):
        SVTR("nano", height, width)
