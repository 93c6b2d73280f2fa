"""Batch normalization over the whole batch of a step, across processes (``run.sync_batch_norm``)."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


def synchronize_batch_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """Replace the 2-d batch norms of ``module`` by ones that normalize over all processes, with the same parameters.

    On a GPU these are torch's own; on other devices, where torch has none, ``SyncBatchNorm2d``. Names in the state dict
    do not change.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for name, child in module.named_children():
        module.add_module(name, synchronize_batch_norms(child, device))
    return SyncBatchNorm2d.of(module) if type(module) is nn.BatchNorm2d else module


class SyncBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` whose training mean and variance are computed over the pixels of all processes."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> SyncBatchNorm2d:
        """A synchronized batch norm that shares the parameters and buffers of ``norm``."""
        new = cls(norm.num_features, norm.eps, norm.momentum, device="meta")
        for name, tensor in [*norm.named_parameters(), *norm.named_buffers()]:
            setattr(new, name, tensor)
        new.training = norm.training
        return new

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not self.training:
            return super().forward(x)
        y, mean, variance, count = cast(Any, _Normalize).apply(x, self.weight, self.bias, self.eps)
        assert self.momentum is not None and self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            for running, batch in ((self.running_mean, mean), (self.running_var, variance * (count / (count - 1)))):
                assert running is not None
                running.lerp_(batch.to(running.dtype), self.momentum)
        return y


class _Normalize(torch.autograd.Function):
    """Forward and backward of batch norm, with sums over pixels reduced over all processes.

    Sums are reduced in float64, as one small vector in each direction. The gradients of weight and bias are this
    process's own, as those of all other parameters are until they are averaged over the processes.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Output, mean and variance per channel, and the number of pixels over all processes."""
        count = x.numel() // x.shape[1]
        unused = torch.zeros_like(weight), torch.ones_like(weight)  # float32: so are the results for a bfloat16 x
        mean, variance = (part.double() for part in torch.batch_norm_update_stats(x, *unused, 0.0))
        sums = torch.cat([count * mean, count * (variance + mean**2), mean.new_tensor([count])])
        dist.all_reduce(sums)
        total = sums[-1]
        mean, squares = (sums[:-1] / total).chunk(2)
        variance = (squares - mean**2).clamp(min=0)
        statistics = mean.to(weight.dtype), variance.to(weight.dtype)
        y = torch.native_batch_norm(x, weight, bias, *statistics, False, 0.0, eps)[0]
        ctx.save_for_backward(x, weight, *statistics, total)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, total)
        return y, mean, variance, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        x, weight, mean, variance, total = ctx.saved_tensors
        # The gradient of x as if mean and variance did not depend on it; sums of grad * normalized x and of grad.
        x_grad, weight_grad, bias_grad = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.cat([weight_grad, bias_grad]).double()
        dist.all_reduce(sums)
        mean_product, mean_grad = (sums / total).chunk(2)
        inverse = (variance.double() + ctx.eps).rsqrt()
        slope = weight * inverse**2 * mean_product
        offset = weight * inverse * mean_grad - mean * slope
        slope, offset = (part.to(x.dtype)[:, None, None] for part in (slope, offset))
        return x_grad.sub_(offset).addcmul_(x, slope, value=-1), weight_grad, bias_grad, None
