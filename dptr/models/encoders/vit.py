"""Vision transformer image encoder in the sizes of PARSeq (Bautista and Atienza, ECCV 2022)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dptr.config.decoders import Initialization
from dptr.config.model import ViTConfig
from dptr.models.layers import Block, Encoder, init_published, init_transformer

SIZES = {  # width, depth, heads
    "tiny": (192, 12, 3),  # PARSeq-Ti
    "small": (384, 12, 6),  # PARSeq
    "dptr": (512, 12, 8),  # DPTR's published fine-tuning recipe
    "base": (768, 12, 12),  # ViT-B (Dosovitskiy et al. 2021)
}


class ViT(Encoder):
    """PARSeq's encoder: a ViT with learned positions and without a class token.

    Args:
        size: a key of ``SIZES``.
        height, width: of the image in pixels, multiples of those of a patch.
        patch: height and width of a patch in pixels.
        norm_eps: added to the variance in layer norms; 1e-5 in OpenOCR, 1e-6 in baudm/parseq.
        initialization: ``init_transformer`` or ``init_published``.
    """

    def __init__(
        self,
        size: str,
        height: int,
        width: int,
        patch: tuple[int, int] = (4, 8),
        norm_eps: float = 1e-5,
        initialization: Initialization = "fan-in",
    ):
        super().__init__()
        if height % patch[0] or width % patch[1]:
            raise ValueError(
                f"image {height}x{width} is not a whole number of {patch[0]}x{patch[1]} patches; resize it"
            )
        self.dim, depth, heads = SIZES[size]
        self.grid = (height // patch[0], width // patch[1])
        self.patches = nn.Conv2d(3, self.dim, patch, stride=patch)
        self.positions = nn.Parameter(torch.empty(1, self.grid[0] * self.grid[1], self.dim))
        self.blocks = nn.ModuleList(Block(self.dim, heads, norm_eps) for _ in range(depth))
        self.norm = nn.LayerNorm(self.dim, norm_eps)
        self.apply(init_published if initialization == "published" else init_transformer)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        x = self.patches(pixels).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def build_vit(config: ViTConfig) -> ViT:
    """ViT from its part of a recipe."""
    return ViT(config.size, config.height, config.width, config.patch, config.norm_eps, config.initialization)
