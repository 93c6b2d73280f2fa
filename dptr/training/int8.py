"""Training for 8 bits: layers round as in a file of ``dptr export --int8 static``.

Rounding is simulated in the forward pass, and the gradient passes through it (Jacob et al., *Quantization and Training
of Neural Networks for Efficient Integer-Arithmetic-Only Inference*, CVPR 2018). The weights stay in float32.

Unlike here, ranges in the file do not depend on the batch, decoding loops compute in float32, and batch norms are
folded into convolutions before their outputs are rounded.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

MOST_ACTIVATION = 255  # activations are integers from 0 to this
MOST_WEIGHT = 64  # weights are integers from -64 to 64: see ``dptr.export.quantize.quantize_activations``
_LEAST_SCALE = 1e-8


def simulate_int8(model: nn.Module) -> int:
    """Round weights, inputs, and outputs of convolutions and linear layers in each forward pass.

    Depthwise convolutions, the one of the pixels, and those of pooled features (1 x 1) keep float32, as in the export.
    The range of an activation is that of ``ranges="means"`` there, from the batch itself.

    Args:
        model: changed in place; its parameters and their names stay.

    Returns:
        The number of layers that round.
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear)
        or (isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels > 3)
    ]
    for layer in layers:
        layer.forward = partial(_compute, layer)  # type: ignore[method-assign]
    return len(layers)


def _compute(layer: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return round_activations(functional.linear(round_activations(x), round_weights(layer.weight), layer.bias))
    if x.shape[-2:] == (1, 1):
        return nn.Conv2d.forward(layer, x)
    weights = round_weights(layer.weight)
    return round_activations(layer._conv_forward(round_activations(x), weights, layer.bias))


def round_activations(x: Float[Tensor, " b *rest"]) -> Float[Tensor, " b *rest"]:
    """Round to 256 values from the mean of the samples' least values to that of their greatest, 0 among them."""
    flat = x.detach().flatten(1).float()
    low, high = flat.amin(1).mean().clamp(max=0), flat.amax(1).mean().clamp(min=0)
    scale = ((high - low) / MOST_ACTIVATION).clamp(min=_LEAST_SCALE)
    zero = (-low / scale).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, MOST_ACTIVATION)


def round_weights(weights: Float[Tensor, " out *rest"]) -> Float[Tensor, " out *rest"]:
    """Round each output channel to multiples of a 64th of its largest absolute value."""
    scale = weights.detach().flatten(1).abs().amax(1).clamp(min=_LEAST_SCALE) / MOST_WEIGHT
    zero = torch.zeros(len(weights), dtype=torch.int32, device=weights.device)
    return torch.fake_quantize_per_channel_affine(weights, scale, zero, 0, -MOST_WEIGHT, MOST_WEIGHT)
