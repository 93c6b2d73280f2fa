"""The image encoder of PP-OCRv6's small recognizer (PaddleOCR, Apache-2.0), to continue from its published weights.

It is a convolutional network for phones, after PP-LCNet and RepViT (Wang et al. 2024, arXiv 2307.09283): depthwise 3x3
convolutions mix positions, and two 1x1 convolutions with a GELU between them mix channels. Two attention blocks over
the columns follow, as in SVTR_LCNet. In the published file, branches and batch norms of training are folded into
convolutions with a bias. So are they here: this module is for fine-tuning, not for training from scratch.

``dptr.models.encoders.ppocr_weights`` reads the weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dptr.config.model import PPOCRConfig
from dptr.models.layers import Attention, Encoder, Grid, init_transformer

STEM = (48, 24, 48)  # channels of the stem's first convolution, inside its branch, and of its last convolution
# Stages: channels, and which blocks have squeeze and excitation. The number of rows is halved between stages.
STAGES = ((96, (True, False, False)), (192, (True, False, True, False, True, False)), (384, (True, False)))
DIM, HEADS, BLOCKS = 120, 8, 2  # of the attention blocks
ROWS = 16  # pixels of height per final row
TOKEN = 8  # pixels of the width for each image token


def _convolution(inside: int, out: int, kernel: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, out, kernel, stride, kernel // 2)


def _depthwise(channels: int, kernel: tuple[int, int] = (3, 3), stride: tuple[int, int] = (1, 1)) -> nn.Conv2d:
    padding = kernel[0] // 2, kernel[1] // 2
    return nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels)


class Stem(nn.Module):
    """Downsampling by 4, as in PP-HGNet: pooling and a branch of two 2x2 convolutions in parallel."""

    def __init__(self, out: int):
        super().__init__()
        first, inside, last = STEM
        self.first = _convolution(3, first, 3, 2)
        self.branch = nn.ModuleList([nn.Conv2d(first, inside, 2), nn.Conv2d(inside, first, 2)])
        self.merge = _convolution(2 * first, last, 3, 2)
        self.widen = _convolution(last, out)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c hh ww"]:
        x = F.relu(self.first(pixels))
        branch = x
        for convolution in self.branch:
            branch = F.relu(convolution(F.pad(branch, (0, 1, 0, 1))))
        pooled = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 2, 1)  # x >= 0, so padding with zeros changes no maximum
        return F.relu(self.widen(F.relu(self.merge(torch.cat([pooled, branch], 1)))))


class ChannelWeights(nn.Module):
    """Squeeze and excitation (Hu et al. 2018) with a hard sigmoid and a quarter of the channels inside."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        weights = F.hardsigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return x * weights


class MixBlock(nn.Module):
    """A depthwise convolution, then two 1x1 convolutions with a residual.

    Args:
        weigh: add squeeze and excitation.
        out: channels of a block that halves the rows, which has no residual; 0 = keep rows and channels.
    """

    def __init__(self, channels: int, weigh: bool, out: int = 0):
        super().__init__()
        self.residual = not out
        self.places = _depthwise(channels, stride=(2, 1) if out else (1, 1))
        self.weights = ChannelWeights(channels) if weigh else nn.Identity()
        self.channels = nn.Sequential(
            _convolution(channels, out or 2 * channels), nn.GELU(), _convolution(out or 2 * channels, out or channels)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e hh w"]:
        x = self.weights(self.places(x))
        mixed = self.channels(x)
        return x + mixed if self.residual else mixed


class ColumnBlock(nn.Module):
    """Pre-norm attention over the columns, then a feed-forward of twice the width with a swish."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(DIM)
        self.attention = Attention(DIM, HEADS)
        self.norm2 = nn.LayerNorm(DIM)
        self.feed_forward = nn.Sequential(nn.Linear(DIM, 2 * DIM), nn.SiLU(), nn.Linear(2 * DIM, DIM))

    def forward(self, x: Float[Tensor, "b p d"]) -> Float[Tensor, "b p d"]:
        normed = self.norm1(x)
        x = x + self.attention(normed, normed)
        return x + self.feed_forward(self.norm2(x))


class PPOCR(Encoder):
    """One token of width 120 for each 8 columns of the image, from left to right.

    Args:
        height, width: of the usual image in pixels, multiples of 16 and 8. The published weights are for a height of
            48; all final rows are averaged.
    """

    def __init__(self, height: int, width: int):
        super().__init__()
        check_size(height, width)
        self.dim = DIM
        self.grid = (1, width // TOKEN)
        self.rows = height // ROWS
        self.stem = Stem(STAGES[0][0])
        blocks: list[nn.Module] = []
        before = 0
        for channels, weigh in STAGES:
            if before:
                blocks.append(MixBlock(before, weigh=False, out=channels))
            blocks += [MixBlock(channels, each) for each in weigh]
            before = channels
        self.blocks = nn.Sequential(*blocks)
        self.shortcut = _convolution(before, DIM)
        self.narrow = _convolution(before, DIM)
        self.neighbors = _depthwise(DIM, (1, 7))
        self.columns = nn.ModuleList(ColumnBlock() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(DIM, eps=1e-6)
        self.apply(init_transformer)
        # as in the other convolutional encoder; torch's stubs lack the argument
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        return self.with_grid(pixels)[0]

    def with_grid(self, pixels: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b p d"], Grid]:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        maps = F.avg_pool2d(self.blocks(self.stem(pixels)), (self.rows, 2))
        shortcut = F.silu(self.shortcut(maps))
        narrow = F.silu(self.narrow(maps))
        narrow = narrow + F.silu(self.neighbors(narrow))
        x = narrow.flatten(2).transpose(1, 2)
        for block in self.columns:
            x = block(x)
        return self.norm(x) + shortcut.flatten(2).transpose(1, 2), (1, maps.shape[3])


def check_size(height: int, width: int) -> None:
    """Check that images of this size have a whole number of tokens.

    Raises:
        ValueError: they do not.
    """
    if height % ROWS or width % 8:
        raise ValueError(f"image {height}x{width} is not a multiple of 16x8 pixels; choose another height or width")


def build_ppocr(config: PPOCRConfig) -> PPOCR:
    """The encoder with fresh weights, from its part of a recipe.

    Raises:
        ValueError: see ``check_size``.
    """
    for height, width in config.crop_size.every:
        check_size(height, width)
    return PPOCR(config.height, config.width)
