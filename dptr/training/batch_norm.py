"""Batch norms that see the whole batch of a step, not one process's share of it (``run.sync_batch_norm``)."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


def synchronize_batch_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """``module`` with its 2-d batch norms replaced by ones of the same parameters that normalize over all processes.

    torch's own on a GPU; ``SyncBatchNorm2d`` elsewhere, where torch has none. Names in the state stay.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for name, child in module.named_children():
        module.add_module(name, synchronize_batch_norms(child, device))
    return SyncBatchNorm2d.of(module) if type(module) is nn.BatchNorm2d else module


class SyncBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` whose mean and variance in training are those of the pixels of all processes."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> SyncBatchNorm2d:
        """With the parameters and buffers of ``norm`` themselves."""
        new = cls(norm.num_features, norm.eps, norm.momentum, device="meta")
        for name, held in [*norm.named_parameters(), *norm.named_buffers()]:
            setattr(new, name, held)
        new.training = norm.training
        return new

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not self.training:
            return super().forward(x)
        y, mean, variance, count = cast(Any, _Normalize).apply(x, self.weight, self.bias, self.eps)
        assert self.momentum is not None and self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            for running, now in ((self.running_mean, mean), (self.running_var, variance * (count / (count - 1)))):
                assert running is not None
                running.lerp_(now.to(running.dtype), self.momentum)
        return y


class _Normalize(torch.autograd.Function):
    """The forward and backward of batch norm, their sums over pixels added up over all processes.

    Sums travel in float64, one small vector each way. The gradients of weight and bias are this process's, as those of
    all other parameters are until the processes' are put together.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Output, mean and variance by channel, and the number of pixels that they are of."""
        count = x.numel() // x.shape[1]
        unused = torch.zeros_like(weight), torch.ones_like(weight)  # of x in bfloat16 they bring results in float32
        mean, variance = (part.double() for part in torch.batch_norm_update_stats(x, *unused, 0.0))
        sums = torch.cat([count * mean, count * (variance + mean**2), mean.new_tensor([count])])
        dist.all_reduce(sums)
        total = sums[-1]
        mean, squares = (sums[:-1] / total).chunk(2)
        variance = (squares - mean**2).clamp(min=0)
        by_all = mean.to(weight.dtype), variance.to(weight.dtype)
        y = torch.native_batch_norm(x, weight, bias, *by_all, False, 0.0, eps)[0]
        ctx.save_for_backward(x, weight, *by_all, total)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, total)
        return y, mean, variance, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        x, weight, mean, variance, total = ctx.saved_tensors
        # As with a mean and variance that do not depend on x: d/dx, the sum of grad * normalized x, the sum of grad.
        own, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.cat([of_weight, of_bias]).double()
        dist.all_reduce(sums)
        mean_product, mean_grad = (sums / total).chunk(2)
        inverse = (variance.double() + ctx.eps).rsqrt()
        slope = weight * inverse**2 * mean_product
        offset = weight * inverse * mean_grad - mean * slope
        slope, offset = (part.to(x.dtype)[:, None, None] for part in (slope, offset))
        return own.sub_(offset).addcmul_(x, slope, value=-1), of_weight, of_bias, None
