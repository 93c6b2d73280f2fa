"""Batch norms over several processes: what one process with the whole batch computes, forward and backward."""

from __future__ import annotations

import copy
import multiprocessing
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dptr.models.encoders.svtr import SVTR
from dptr.training.batch_norm import SyncBatchNorm2d, synchronize_batch_norms

SHARES = (1, 4, 2)  # crops of each process: unlike each other
NORMS = 9  # of svtr nano


def network() -> SVTR:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SVTR("nano", 16, 32).double()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):  # not 1 and 0, with which an error would hide
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
    return model.train()


def pixels() -> tuple[Tensor, Tensor]:
    """Crops that differ in mean and spread from process to process, and weights of the sum that is derived."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.arange(1.0, sum(SHARES) + 1)[:, None, None, None]
    crops = torch.rand(sum(SHARES), 3, 16, 32, generator=generator) * spread - spread / 3
    weights = torch.randn(sum(SHARES), 8, 128, generator=generator)
    return crops.double(), weights.double()


def step(model: nn.Module, own: slice) -> dict[str, Tensor]:
    """Two steps on a share of the crops: tokens, gradients, and running statistics."""
    crops, weights = (part[own] for part in pixels())
    for _ in range(2):
        model.zero_grad()
        crops = crops.detach().requires_grad_()
        tokens = model(crops)
        (tokens * weights).sum().backward()
    assert crops.grad is not None
    found = {"tokens": tokens.detach(), "crops": crops.grad}
    found |= {f"gradient.{name}": part.grad for name, part in model.named_parameters() if part.grad is not None}
    return found | {f"buffer.{name}": part for name, part in model.named_buffers()}


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SHARES))
    model = synchronize_batch_norms(network(), torch.device("cpu"))
    torch.save(step(model, slice(sum(SHARES[:rank]), sum(SHARES[: rank + 1]))), folder / str(rank))
    dist.destroy_process_group()


def test_processes_normalize_as_one(tmp_path: Path) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=work, args=(n, tmp_path)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found = [torch.load(tmp_path / str(rank)) for rank in range(3)]
    whole = step(network(), slice(None))
    assert all(each.keys() == whole.keys() for each in found)
    for name, expected in whole.items():
        if name in ("tokens", "crops"):
            together = torch.cat([each[name] for each in found])
        elif name.startswith("gradient"):
            together = torch.stack([each[name] for each in found]).sum(0)
        else:
            together = found[0][name]
            assert all(torch.equal(each[name], together) for each in found), name
        # of what follows, gradients of biases before a layer norm, say, some are zero but for rounding
        torch.testing.assert_close(together, expected, rtol=1e-9, atol=1e-9 * max(1.0, expected.abs().max().item()))


def test_a_share_alone_gives_other_numbers() -> None:
    """What synchronizing is for."""
    own, whole = step(network(), slice(0, SHARES[0])), step(network(), slice(None))
    assert (own["tokens"] - whole["tokens"][: SHARES[0]]).abs().max() > 0.01


def test_parameters_and_names_stay() -> None:
    """An optimizer made before goes on with them, and a state loads into either."""
    model, before = network(), network()
    held = dict(model.named_parameters())
    model = synchronize_batch_norms(model, torch.device("cpu"))
    assert sum(isinstance(module, SyncBatchNorm2d) for module in model.modules()) == NORMS
    assert list(model.state_dict()) == list(before.state_dict())
    assert all(parameter is held[name] for name, parameter in model.named_parameters())


def test_in_eval_mode_nothing_is_exchanged() -> None:
    """There is no group of processes here; frozen parts of a model are in eval mode."""
    model = network().eval()
    synchronized = synchronize_batch_norms(copy.deepcopy(model), torch.device("cpu"))
    assert not any(module.training for module in synchronized.modules())
    assert torch.equal(synchronized(pixels()[0]), model(pixels()[0]))


def test_on_a_gpu_it_is_torchs_own() -> None:
    model = synchronize_batch_norms(network(), torch.device("cuda"))
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in model.modules()) == NORMS
