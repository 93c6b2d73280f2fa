"""Convolution-then-attention image encoder, after SVTR (Du et al., IJCAI 2022) and SVTRv2 (arXiv 2411.15858).

Convolutions mix locally on the large maps; attention mixes globally on the small one. Each stage halves the height, and
a last convolution merges the rows. The width stays at a quarter of the image's, so that narrow letters stay separate.
On a CPU, a crop costs a fraction of what it costs in a ViT of the same accuracy.

The encoder can read crops of several sizes (``dptr.utils.sizes``). The last convolution merges as many rows as a usual
crop has, and slides over the rows of taller crops, which keep several rows of tokens. So a usual crop has one row of
tokens whatever other sizes there are, and a network that was trained on usual crops can continue on other sizes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dptr.config.model import SVTRConfig
from dptr.models.layers import Block, Encoder, Grid, Side, init_transformer

SIZES = {  # channels of stem and stages; convolution blocks per stage; width of tokens; attention blocks; heads
    "nano": ((24, 32, 64, 128), (1, 1, 0), 128, 2, 4),
    "micro": ((32, 48, 96, 160), (1, 1, 1), 128, 2, 4),
    "tiny": ((32, 64, 128, 192), (1, 1, 1), 192, 3, 6),
    "small": ((48, 64, 128, 256), (2, 3, 2), 256, 6, 8),
}


class LocalBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a residual (He et al. 2016, basic block)."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return torch.relu(x + self.body(x))


def _down(
    inside: int, out: int, stride: tuple[int, int], kernel: tuple[int, int] = (3, 3), padding: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(inside, out, kernel, stride=stride, padding=padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class SVTR(Encoder):
    """One token for each four columns of the image, left to right; one more row of tokens for each 16 pixels of height
    above the usual.

    Args:
        size: a key of ``SIZES``.
        height, width: of the usual image in pixels, multiples of 16 and 4.
        widest: maximal width of images; 0 = ``width``.
        highest: maximal height of images; 0 = ``height``.
    """

    def __init__(self, size: str, height: int, width: int, widest: int = 0, highest: int = 0):
        super().__init__()
        if height % 16 or width % 4:
            raise ValueError(f"image {height}x{width} is not a multiple of 16x4 pixels; choose another height or width")
        channels, convolutions, self.dim, depth, heads = SIZES[size]
        self.grid = (1, width // 4)
        self.stem = _down(3, channels[0], (2, 2))
        stages: list[nn.Module] = []
        for index, stride in enumerate(((2, 2), (2, 1), (2, 1))):
            stages.append(_down(channels[index], channels[index + 1], stride))
            stages += [LocalBlock(channels[index + 1]) for _ in range(convolutions[index])]
        rows = height // 16
        stages.append(_down(channels[-1], self.dim, (1, 1), (rows, 1), 0))
        self.stages = nn.Sequential(*stages)
        self.positions = nn.Parameter(torch.empty(1, max(width, widest) // 4, self.dim))
        max_rows = -(-max(height, highest) // 16) - rows + 1
        self.row_positions = nn.Parameter(torch.zeros(1, 2 * max_rows - 1, self.dim)) if max_rows > 1 else None
        self.blocks = nn.ModuleList(Block(self.dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(self.dim)
        self.apply(init_transformer)
        nn.init.trunc_normal_(self.positions, std=0.5)  # comparable to the maps that they are added to
        # twice as fast on a CPU (docs/LOG.md); torch's stubs lack the argument
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def per_position(self) -> dict[str, str]:
        """Row k of ``positions`` belongs to the k-th column from the left, whatever the width of the image."""
        return {"positions": "columns"} | ({} if self.row_positions is None else {"row_positions": "rows"})

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        return self.with_grid(pixels)[0]

    def with_grid(self, pixels: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b p d"], Grid]:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        maps = self.stages(self.stem(pixels))
        rows, columns = maps.shape[2:]
        x = maps.flatten(2).transpose(1, 2) + self.places(rows, columns)
        for block in self.blocks:
            x = block(x)
        return self.norm(x), (rows, columns)

    def places(self, rows: Side, columns: Side) -> Float[Tensor, "1 p d"]:
        """Position embeddings of the tokens: of the column from the left, plus of the row from the image's middle.

        ``row_positions``, which start at zero, are indexed by the distance from the middle in half rows. So the single
        row of a usual image and the middle row of three have the same.
        """
        column_embeddings = self.positions[:, :columns]
        if self.row_positions is None:
            return column_embeddings
        top = self.row_positions.shape[1] // 2 + 1 - rows
        row_embeddings = self.row_positions[:, top : top + 2 * rows - 1 : 2]
        return (row_embeddings[:, :, None] + column_embeddings[:, None]).flatten(1, 2)


def build_svtr(config: SVTRConfig) -> SVTR:
    """SVTR from its part of a recipe."""
    highest, widest = (max(sides) for sides in zip(*config.crop_size.every, strict=True))
    return SVTR(config.size, config.height, config.width, widest, highest)
