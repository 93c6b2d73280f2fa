"""Offline Randomized Perturbation: noise from a bank's image tokens is added to text tokens (DPTR section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dptr.dual.orp.bank import Bank


def _shared(samples: int, length: int, tokens: int, generator: torch.Generator) -> Int[Tensor, "samples length"]:
    return _per_sample(1, length, tokens, generator).expand(samples, length)


def _per_sample(samples: int, length: int, tokens: int, generator: torch.Generator) -> Int[Tensor, "samples length"]:
    repeats = -(-length // tokens)
    keys = torch.rand((samples, repeats, tokens), generator=generator, device=generator.device)
    return keys.argsort(dim=-1).reshape(samples, repeats * tokens)[:, :length]


def _aligned(samples: int, length: int, tokens: int, generator: torch.Generator) -> Int[Tensor, "samples length"]:
    return (torch.arange(length, device=generator.device) % tokens).expand(samples, length)


POSITIONS = {"shared": _shared, "per-sample": _per_sample, "aligned": _aligned}


def perturb(
    memory: Float[Tensor, "b m d"],
    mask: Bool[Tensor, "b m"],
    bank: Bank,
    strength: float,
    generator: torch.Generator,
    positions: Literal["shared", "per-sample", "aligned"] = "per-sample",
    samples: int | None = None,
    own: slice = slice(None),
    replacement: bool = True,
) -> Float[Tensor, "b m d"]:
    """Add tokens of one random bank image to each sample: ``memory + strength * noise``. For training only.

    As in DPTR's published code (where lambda = 0.1), each sample draws one image, and token positions without
    replacement. If the bank has fewer tokens (p) than the memory (m), further random orders of its p tokens follow.

    Args:
        memory: text tokens.
        mask: True at real tokens; others do not change.
        bank: of the same width.
        strength: the paper's lambda; 0 returns ``memory``.
        generator: draws images and positions, on its own device.
        positions: ``shared``, as published: the same positions for all samples of the batch; ``per-sample``: a draw for
            each; ``aligned``: token i of the memory gets token i of the bank image, for banks of residuals.
        samples, own: size of the batch over all processes (None = b), and the part of it that is in ``memory``. The
            noise of a sample does not depend on the number of processes.
        replacement: True: samples draw images independently, so that a bank may be smaller than a batch; False, as
            published: the samples of a batch draw different images.

    Returns:
        Perturbed memory, of ``memory``'s type; the sum is computed in float32.

    Raises:
        ValueError: without replacement, the bank has fewer images than the batch has samples.
    """
    if strength == 0:
        return memory
    batch, length, width = memory.shape
    images, tokens, _ = bank.tokens.shape
    everyone = batch if samples is None else samples
    if replacement:
        image = torch.randint(images, (everyone, 1), generator=generator, device=generator.device)[own]
    elif everyone > images:
        raise ValueError(f"{everyone} samples cannot draw different images of a bank of {images}")
    else:
        image = torch.randperm(images, generator=generator, device=generator.device)[:everyone, None][own]
    position = POSITIONS[positions](everyone, length, tokens, generator)[own]
    rows = (image * tokens + position).flatten().to(bank.tokens.device)
    noise = bank.tokens.view(images * tokens, width).index_select(0, rows).to(memory.device, torch.float32)
    noise = noise.view(batch, length, width).mul_(strength).masked_fill_(~mask[:, :, None], 0.0)
    return (memory.float() + noise).to(memory.dtype)
