"""The loss over a sample of classes."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from dptr.config.decoders import NRTRConfig, PARSeqConfig
from dptr.config.model import DecoderModelConfig
from dptr.models.decoders.class_sampling import SampledHead
from dptr.models.recognizer import build_decoder

CLASSES = 7


def head_and_batch(negatives: int) -> tuple[SampledHead, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    head = SampledHead(5, CLASSES, negatives)
    return head, torch.randn(4, 5), torch.tensor([2, 5, 2, CLASSES + 1])  # the last is PAD


def test_expected_sum_is_that_over_all_classes(monkeypatch):
    """By brute force: all 5040 orders of the classes, of which the first three are drawn."""
    head, x, targets = head_and_batch(3)
    total, orders = torch.zeros(4), list(itertools.permutations(range(CLASSES)))
    for order in orders:
        monkeypatch.setattr(torch, "randperm", lambda *_, order=order, **__: torch.tensor(order))
        with head.sampled(targets, torch.Generator()):
            total += head(x).exp().sum(1).detach()
    torch.testing.assert_close(total / len(orders), head(x).exp().sum(1).detach(), rtol=1e-4, atol=1e-4)


def test_places_are_those_of_the_targets_classes():
    head, x, targets = head_and_batch(2)
    everything = head(x)
    with head.sampled(targets, torch.Generator().manual_seed(3)) as place:
        placed, sample = place(targets), head(x)
    assert placed[3] == CLASSES + 1 and sample.shape[1] < CLASSES
    for row in range(3):
        assert sample[row, placed[row]] == everything[row, targets[row]]
    assert torch.equal(head(x), everything)


def test_a_batch_with_all_classes_has_the_whole_loss():
    head, x, _ = head_and_batch(2)
    targets = torch.arange(CLASSES)
    with head.sampled(targets, torch.Generator()) as place:
        assert torch.equal(place(targets), targets)
        torch.testing.assert_close(head(x), F.linear(x, head.weight, head.bias))


@pytest.mark.parametrize("config", [PARSeqConfig, NRTRConfig])
def test_decoders_train_on_a_sample_and_read_with_all(config):
    """The mean loss over many samples is near the whole one, and a bit above its bound by Jensen's inequality."""
    characters, decoders = 400, {}
    for negatives in (0, 100):
        settings = config(dim=16, depth=1, heads=2, dropout=0.0, negatives=negatives)
        torch.manual_seed(0)
        decoders[negatives] = build_decoder(DecoderModelConfig(decoder=settings, max_length=6), characters)
    memory = torch.randn(3, 7, 16)
    targets = torch.tensor([[401, 5, 9, 300, 0, 402], [401, 7, 0, 402, 402, 402], [401, 1, 2, 3, 0, 402]])
    losses = {
        negatives: torch.stack(
            [decoder.loss(memory, None, targets, torch.Generator().manual_seed(seed)) for seed in range(60)]
        ).mean()
        for negatives, decoder in decoders.items()
    }
    assert losses[100].item() == pytest.approx(losses[0].item(), abs=0.05)
    assert losses[100] != losses[0]
    logits = [decoder.eval().decode(memory, None) for decoder in decoders.values()]
    assert torch.equal(*logits)
    losses[100].backward()
    rows = decoders[100].head.weight.grad.abs().sum(1)
    assert (rows > 0).sum() > 300  # 60 samples of 100
