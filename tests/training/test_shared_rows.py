"""Characters that share parts learn together."""

import pytest
import torch
from torch import nn

from dptr.models.decoders.parseq import PARSeq
from dptr.text.charset import Charset
from dptr.text.decomposition import part_weights, read_decomposition
from dptr.training.shared_rows import SharedRows, compose_rows, decoder_tables, share_rows

HANGUL = Charset("hangul", (*map(chr, range(0xAC00, 0xAC00 + 28 * 21 * 3, 31)), "a", "b"))
COUNTED, PARTS = part_weights(read_decomposition("unicode", HANGUL.characters))
WEIGHTS = torch.from_numpy(COUNTED)


def batches(steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(steps, 16, 12, generator=generator)
    return list(zip(inputs, torch.randint(1, len(HANGUL) + 1, (steps, 16), generator=generator), strict=True))


def test_rows_are_those_of_a_network_that_holds_the_parts():
    """Against the same training with w = r + M v written out, r and v parameters of AdamW."""
    torch.manual_seed(0)
    plain = nn.Linear(12, len(HANGUL) + 1)
    start = plain.weight.detach().clone()
    rows, vectors = nn.Parameter(start.clone()), nn.Parameter(torch.zeros(len(PARTS), 12))
    written = torch.optim.AdamW([rows, vectors], lr=0.05, weight_decay=0.0)
    shared = SharedRows([plain.weight], WEIGHTS, 1.0)
    optimizer = torch.optim.AdamW([plain.weight], lr=0.05, weight_decay=0.0)
    shared.attach(optimizer)
    padded = torch.cat([torch.zeros(1, len(PARTS)), WEIGHTS])
    bias = plain.bias.detach()
    for inputs, targets in batches(20):
        nn.functional.cross_entropy(inputs @ (rows + padded @ vectors).T + bias, targets).backward()
        written.step()
        written.zero_grad()
        nn.functional.cross_entropy(inputs @ plain.weight.T + bias, targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(plain.weight, rows + padded @ vectors, rtol=1e-4, atol=1e-5)
    alone = start - plain.weight
    assert alone.abs().max() > 0.1  # it moved


def test_a_character_that_was_never_seen_moves_with_its_parts():
    torch.manual_seed(0)
    unseen = HANGUL.index("가") + 1
    moved = {}
    for decomposition in ("", "unicode"):
        head = nn.Embedding(len(HANGUL) + 3, 8)
        before = head.weight.detach().clone()
        optimizer = torch.optim.AdamW([head.weight], lr=0.05, weight_decay=0.0)
        shared = share_rows([head.weight], HANGUL, decomposition)
        if shared is not None:
            shared.attach(optimizer)
        for _, targets in batches(5):
            (head(targets[targets != unseen]).square().sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
        change = (head.weight - before).detach().abs().sum(1)
        moved[decomposition] = change[unseen].item()
        assert change[[0, len(HANGUL) + 1, len(HANGUL) + 2]].sum() == 0  # EOS, BOS, PAD
        assert change[HANGUL.index("a") + 1] > 0
    assert moved[""] == 0 and moved["unicode"] > 0.1


def test_nothing_is_shared_where_nothing_can_be():
    assert share_rows([nn.Parameter(torch.zeros(4, 2))], Charset("abc", ("a", "b", "c")), "unicode") is None
    assert share_rows([nn.Parameter(torch.zeros(len(HANGUL) + 1, 2))], HANGUL, "") is None


def test_fresh_rows_are_sums_of_parts():
    decoder = PARSeq(len(HANGUL), 8, dim=32, depth=1, heads=2)
    tables = decoder_tables(decoder)
    before = [table.detach().clone() for table in tables]
    fresh = [each for each in HANGUL.characters if each != "b"]
    compose_rows(tables, HANGUL, fresh, "unicode", seed=3)
    for table, old in zip(tables, before, strict=True):
        syllables = slice(1, len(HANGUL) - 1)  # all but a and b
        if table.dim() == 1:
            assert torch.equal(table, old)
            continue
        rows = table[syllables].detach()
        solved = torch.linalg.lstsq(WEIGHTS[: len(rows)], rows, driver="gelsd").solution
        torch.testing.assert_close(WEIGHTS[: len(rows)] @ solved, rows, rtol=1e-3, atol=1e-3)
        assert rows.std() == pytest.approx(old[syllables].std().item(), rel=0.3)
        others = [0, *range(len(HANGUL) - 1, len(table))]
        assert torch.equal(table[others], old[others])


def test_a_known_part_lends_its_row():
    charset = Charset("accents", ("e", "é", "è", "a", "á"))
    table = nn.Parameter(torch.randn(6, 4))
    known = table[1].detach().clone()
    compose_rows([table], charset, ["é", "è", "á"], "unicode", seed=0)
    acute = table[5].detach() * 2**0.5 - table[4].detach()  # á = (a + acute) / sqrt(2)
    torch.testing.assert_close(table[2].detach(), (known + acute) / 2**0.5)
