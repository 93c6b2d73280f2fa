"""Convolution-then-attention image encoder, after SVTR (Du et al., IJCAI 2022) and SVTRv2 (arXiv 2411.15858).

With ``widest`` it reads crops of several widths, so that long words are not squeezed (``dptr.utils.widths``).
Local mixing by convolution on the large maps, global mixing by attention on the small one; the height is halved at each
stage and merged at the end, the width kept at a quarter of the image, so that narrow letters stay apart. A crop costs a
fraction of what the ViT of the same accuracy does on a CPU.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dptr.config.model import SVTRConfig
from dptr.models.layers import Block, Encoder, init_transformer

SIZES = {  # channels of stem and stages; convolution blocks of each stage; width of tokens; attention blocks; heads
    "nano": ((24, 32, 64, 128), (1, 1, 0), 128, 2, 4),
    "micro": ((32, 48, 96, 160), (1, 1, 1), 128, 2, 4),
    "tiny": ((32, 64, 128, 192), (1, 1, 1), 192, 3, 6),
    "small": ((48, 64, 128, 256), (2, 3, 2), 256, 6, 8),
}


class LocalBlock(nn.Module):
    """Two 3x3 convolutions with a residual (He et al. 2016, basic block), normalized by batch."""

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
    """A token for each four columns of the image, left to right.

    Args:
        size: a key of ``SIZES``.
        height, width: of the usual image in pixels, multiples of 16 and 4.
        widest: of all images that it reads; 0 = ``width``.
    """

    def __init__(self, size: str, height: int, width: int, widest: int = 0):
        super().__init__()
        if height % 16 or width % 4:
            raise ValueError(f"image {height}x{width} is not a multiple of 16x4 pixels; choose another height or width")
        channels, locals_, self.dim, depth, heads = SIZES[size]
        self.grid = (1, width // 4)
        self.stem = _down(3, channels[0], (2, 2))
        stages: list[nn.Module] = []
        for index, stride in enumerate(((2, 2), (2, 1), (2, 1))):
            stages.append(_down(channels[index], channels[index + 1], stride))
            stages += [LocalBlock(channels[index + 1]) for _ in range(locals_[index])]
        rows = height // 16
        stages.append(_down(channels[-1], self.dim, (rows, 1), (rows, 1), 0))
        self.stages = nn.Sequential(*stages)
        self.positions = nn.Parameter(torch.empty(1, max(width, widest) // 4, self.dim))
        self.blocks = nn.ModuleList(Block(self.dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(self.dim)
        self.apply(init_transformer)
        nn.init.trunc_normal_(self.positions, std=0.5)  # of the size of the maps that they are added to
        # twice as fast on a CPU (docs/LOG.md); torch's stubs lack the argument
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def per_position(self) -> dict[str, str]:
        """The k-th row tells the k-th column from the left, however wide the image (see ``Decoder.per_position``)."""
        return {"positions": "columns"}

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        x = self.stages(self.stem(pixels)).flatten(2).transpose(1, 2)
        x = x + self.positions[:, : x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def build_svtr(config: SVTRConfig) -> SVTR:
    """SVTR from its part of a recipe."""
    return SVTR(config.size, config.height, config.width, config.max_width)
