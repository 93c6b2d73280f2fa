"""The ViT against patches cut by hand and torch's encoder layers."""

from __future__ import annotations

import pytest
import torch
from helpers_reference import loud, norm, torch_block

from dptr.models.encoders.vit import SIZES, ViT


@pytest.fixture(scope="module")
def vit() -> ViT:
    return loud(ViT("tiny", 8, 32)).eval()


def pixels(count: int, height: int = 8, width: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_equals_an_independent_computation(vit):
    images = pixels(2)
    patches = [
        images[:, :, 4 * row : 4 * row + 4, 8 * column : 8 * column + 8].reshape(2, -1)
        for row in range(2)
        for column in range(4)
    ]  # row by row
    x = torch.stack(patches, 1) @ vit.patches.weight.flatten(1).T + vit.patches.bias + vit.positions
    for block in vit.blocks:
        x = torch_block(block)(x)
    with torch.no_grad():
        torch.testing.assert_close(vit(images), norm(vit.norm, x), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_image_alone_equals_the_image_in_a_batch(vit):
    images = pixels(3)
    torch.testing.assert_close(vit(images[1:2]), vit(images)[1:2], atol=5e-5, rtol=1e-5)


def test_parameters_are_those_of_the_paper():
    """Per block 12 d^2 + 13 d; patches of 4 x 8 x 3; 128 positions; one norm."""
    model = ViT("tiny", 32, 128)
    expected = 12 * (12 * 192**2 + 13 * 192) + (96 + 1) * 192 + 128 * 192 + 2 * 192
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert (model.dim, model.grid) == (192, (8, 16))
    assert {block.attention.heads for block in model.blocks} == {3}
    assert all(width % heads == 0 and width // heads == 64 for width, _, heads in SIZES.values())


def test_gradient_reaches_every_parameter(vit):
    vit.zero_grad()
    vit(pixels(2)).square().sum().backward()
    assert [name for name, parameter in vit.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize(("height", "width"), [(30, 128), (32, 100)])
def test_an_image_that_patches_do_not_divide(height, width):
    with pytest.raises(ValueError, match=f"{height}x{width}"):
        ViT("tiny", height, width)
