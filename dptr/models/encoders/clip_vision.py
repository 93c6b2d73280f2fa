"""The image tower of CLIP and similar dual encoders as a recognizer's image encoder."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dptr.config.model import ClipVisionConfig
from dptr.models.layers import Encoder
from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package

# By the ``model_type`` of a vision configuration: its classes in ``transformers`` end in ``Config`` and ``Model``.
TOWERS: dict[str, str] = {
    "clip_vision_model": "CLIPVision",
    "metaclip_2_vision_model": "MetaClip2Vision",
    "siglip_vision_model": "SiglipVision",
    "siglip2_vision_model": "Siglip2Vision",
    "chinese_clip_vision_model": "ChineseCLIPVision",
    "altclip_vision_model": "AltCLIPVision",
}


def image_tokens(
    tower: nn.Module,
    projection: nn.Module | None,
    pixels: Float[Tensor, "b 3 h w"],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Float[Tensor, "b p d"]:
    """All tokens of an image tower; the first stands for the whole image.

    With a projection, they are class and patch tokens after the post layer norm and the projection, as in DPTR's
    published bank. SigLIP has no projection: they are the output of its attention pooling head, if it has one, and the
    patch tokens after the post layer norm.

    Args:
        tower: of a class of ``TOWERS``, or that class's inner ``vision_model``.
        pixels: in [-1, 1], of ``tower_size``.
        mean, std: of each channel, 0 to 1, with which the tower's training normalized pixels.
    """
    model: Any = tower
    means, deviations = (torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (mean, std))
    pixels = ((pixels + 1) / 2 - means) / deviations
    if projection is not None:
        return projection(model.post_layernorm(model(pixel_values=pixels).last_hidden_state))
    naflex = model.config.model_type == "siglip2_vision_model"
    out = model(**(_patches(pixels, model.config.patch_size) if naflex else {"pixel_values": pixels}))
    pooled = [] if out.pooler_output is None else [out.pooler_output[:, None]]
    return torch.cat([*pooled, out.last_hidden_state], dim=1)


def _patches(pixels: Float[Tensor, "b 3 h w"], size: int) -> dict[str, Tensor]:
    """The arguments of SigLIP 2 NaFlex: the pixels of each patch (rows, columns, channels), no padding, the grid."""
    grid = pixels.unfold(2, size, size).unfold(3, size, size)  # b 3 rows columns size size
    rows, columns = grid.shape[2:4]
    patches = grid.permute(0, 2, 3, 4, 5, 1).reshape(len(pixels), rows * columns, -1)
    return {
        "pixel_values": patches,
        "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.long, device=pixels.device),
        "spatial_shapes": torch.tensor([[rows, columns]] * len(pixels), device=pixels.device),
    }


def tower_size(vision: Any) -> tuple[int, int]:
    """Height and width in pixels of the images that a tower with this configuration takes.

    For SigLIP 2 NaFlex it is the square with as many patches as the tower has positions.
    """
    naflex = vision.model_type == "siglip2_vision_model"
    size = math.isqrt(vision.num_patches) * vision.patch_size if naflex else vision.image_size
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class ClipVision(Encoder):
    """An image tower for images of any size, which are resized (bicubic, antialiased) to the tower's.

    Args:
        tower: of a class of ``TOWERS``.
        projection: width of the joint space, to which tokens are projected; 0 = no projection.
        mean, std: see ``image_tokens``.
        frozen: stay in eval mode, without gradients.
    """

    def __init__(
        self,
        tower: nn.Module,
        projection: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        frozen: bool,
    ):
        super().__init__()
        vision: Any = tower.config
        self.tower = getattr(tower, "vision_model", tower)  # transformers before 5 wraps it once more
        self.projection = nn.Linear(vision.hidden_size, projection, bias=False) if projection else None
        self.mean, self.std = mean, std
        self.frozen = frozen
        self.size = tower_size(vision)
        self.dim = projection or vision.hidden_size
        self.grid = (self.size[0] // vision.patch_size, self.size[1] // vision.patch_size)
        self.leading = int(self.projection is not None or getattr(vision, "vision_use_head", True))
        self.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> ClipVision:
        return super().train(mode and not self.frozen)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        if pixels.shape[2:] != self.size:
            pixels = F.interpolate(pixels, self.size, mode="bicubic", antialias=True).clamp(-1, 1)
        return image_tokens(self.tower, self.projection, pixels, self.mean, self.std)


def strict_fault() -> type[Exception]:
    """The error of newer versions of ``transformers`` for a configuration's value of a wrong type."""
    from huggingface_hub import errors

    return getattr(errors, "StrictDataclassError", ValueError)


def build_clip_vision(config: ClipVisionConfig) -> ClipVision:
    """An image tower with fresh weights and the settings of ``config.tower``.

    Raises:
        UserError: ``config.tower`` is None or invalid; transformers is missing or too old.
    """
    if config.tower is None:
        raise UserError(
            "encoder.kind = 'clip-vision': without the settings of a tower; 'dptr finetune' finds them by "
            "model.encoder.model, a hub id or a folder"
        )
    try:
        import transformers
    except ImportError as error:
        raise missing_package(error, "encoder.kind = 'clip-vision'", "train", "clip") from error
    kind = config.tower.vision.get("model_type")
    name = TOWERS.get(str(kind), "")
    if not name or not hasattr(transformers, f"{name}Model"):
        raise UserError(
            f"encoder.tower: transformers {transformers.__version__} has no image tower {kind!r}; known: "
            f"{', '.join(TOWERS)}; type: pip install --upgrade transformers"
        )
    try:
        tower = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**config.tower.vision))
    except (ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError, strict_fault()) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"encoder.tower: no image tower can be so ({reason}); copy the checkpoint anew") from error
    return ClipVision(tower, config.tower.projection, config.tower.mean, config.tower.std, config.frozen)
