from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from dptr.config.train import ORPConfig
from dptr.dual.orp.bank import Bank, load_bank
from dptr.dual.orp.perturb import perturb
from dptr.dual.orp.residuals import (
    build_residual_bank,
    draw_same_symbol,
    group_by_symbol,
    perturb_by_symbol,
    tabulate_residuals,
)
from dptr.training.pretrain import make_perturbation
from dptr.utils.errors import UserError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass
class Slots:
    """Text tokens: the word's letters, by slot; image tokens: the pixels of the first row."""

    kind = "glyph"
    name = "planted"
    fingerprint = "ab-1"
    dim = 2
    image_size = (1, 3)
    slots: int = 3

    def to(self, device):
        return self

    def encode_text(self, words):
        tokens = torch.tensor([[ord(letter) for letter in word] for word in words]).float()
        return tokens[:, :, None].repeat(1, 1, 2), torch.ones(len(words), 3, dtype=torch.bool)

    def encode_image(self, pixels):
        return pixels[:, :2, 0, : self.slots].transpose(1, 2)


def test_stand_ins_with_their_own_residual_are_the_image_tokens(tmp_path):
    pixels = torch.randn(5, 3, 1, 3, generator=generator())
    words = ["abc", "xyz", "aaa", "bcd", "zzz"]
    dual = Slots()
    bank = build_residual_bank(dual, [(pixels[:2], words[:2]), (pixels[2:], words[2:])], tmp_path / "bank")
    assert bank.provenance["images"] == words
    text, mask = dual.encode_text(words)
    torch.testing.assert_close(text + bank.tokens.float(), dual.encode_image(pixels), rtol=0, atol=0.05)
    one = Bank(bank.tokens[1:2], bank.provenance)
    moved = perturb(text[1:2], mask[1:2], one, 1.0, generator(), "aligned")
    torch.testing.assert_close(moved, dual.encode_image(pixels[1:2]), rtol=0, atol=0.05)
    assert load_bank(tmp_path / "bank", dual).tokens.equal(bank.tokens)


def test_residuals_need_tokens_of_the_same_slots(tmp_path):
    with pytest.raises(UserError, match=r"planted: 2 image tokens beside 3 text tokens; .* \(--images\)"):
        build_residual_bank(Slots(slots=2), [(torch.zeros(1, 3, 1, 3), ["abc"])], tmp_path / "bank")
    with pytest.raises(UserError, match="no crops"):
        build_residual_bank(Slots(), [], tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def planted(words: list[str], slots: int = 5) -> Bank:
    """Each residual names its crop and its slot."""
    places = torch.cartesian_prod(torch.arange(len(words)), torch.arange(slots)).view(len(words), slots, 2)
    return Bank(places.half(), {"encoder": "glyph:planted", "images": words})


def symbol(word: str, slot: int) -> str:
    return (*word, "END", *["PAD"] * 9)[slot]


def test_each_token_gets_a_residual_of_its_own_symbol() -> None:
    crops, words = ["aab", "cab", "", "bb"], ["ab", "cc", "bbbb", ""]
    table = tabulate_residuals(planted(crops))
    drawn: dict[str, set[tuple[int, int]]] = {}
    for seed in range(300):
        noise = perturb_by_symbol(torch.zeros(4, 5, 2), words, table, 1.0, generator(seed))
        for row, slot in np.ndindex(4, 5):
            crop, place = map(int, noise[row, slot].tolist())
            assert symbol(crops[crop], place) == symbol(words[row], slot)
            drawn.setdefault(symbol(words[row], slot), set()).add((crop, place))
    assert drawn == {  # and every one there is gets drawn
        name: {(c, s) for c, s in np.ndindex(4, 5) if symbol(crops[c], s) == name}
        for name in ("a", "b", "c", "END", "PAD")
    }


def test_an_unknown_character_gets_the_residual_of_any_character() -> None:
    table = tabulate_residuals(planted(["ab", "ba"], slots=3))
    noise = [perturb_by_symbol(torch.zeros(1, 3, 2), ["z"], table, 1.0, generator(seed))[0, 0] for seed in range(200)]
    assert {tuple(row.tolist()) for row in noise} == {(crop, slot) for crop in (0.0, 1.0) for slot in (0.0, 1.0)}


def test_rows_of_a_symbol_are_drawn_alike_often() -> None:
    held = group_by_symbol(torch.tensor([3, 1, 3, 3, 1]), end=0, pad=1)
    rows = draw_same_symbol(held, torch.full((1, 30_000), 3), generator())
    counts = torch.bincount(rows.flatten(), minlength=5).tolist()
    assert counts[1] == counts[4] == 0
    assert all(abs(counts[row] - 10_000) < 5 * 82 for row in (0, 2, 3))  # deviation sqrt(30000 * 1/3 * 2/3) = 82


def test_strength_and_type() -> None:
    table = tabulate_residuals(planted(["ab"], slots=3))
    memory = torch.randn(2, 3, 2, generator=generator())
    whole, half = (perturb_by_symbol(memory, ["ab", "b"], table, strength, generator(1)) for strength in (1.0, 0.5))
    torch.testing.assert_close(2 * (half - memory), whole - memory)
    assert perturb_by_symbol(memory.bfloat16(), ["ab", "b"], table, 1.0, generator()).dtype == torch.bfloat16


def test_the_recipe_chooses_how_a_bank_is_added() -> None:
    bank, words = planted(["ab", "ba"], slots=3), ["ab", "b"]
    memory, mask = torch.randn(2, 3, 2, generator=generator()), torch.ones(2, 3, dtype=torch.bool)

    def added(bank: Bank | None, positions: str) -> Tensor:
        config = ORPConfig.model_validate({"strength": 0.5, "positions": positions})
        return make_perturbation(config, bank, len(words))(memory, mask, words, generator(3), len(words), slice(None))

    assert added(None, "symbols") is memory
    assert added(bank, "symbols").equal(perturb_by_symbol(memory, words, tabulate_residuals(bank), 0.5, generator(3)))
    assert added(bank, "aligned").equal(perturb(memory, mask, bank, 0.5, generator(3), "aligned"))
    with pytest.raises(UserError, match=r"of photographs, not of residuals; .* dptr bank --pack DIR"):
        added(Bank(bank.tokens, {"encoder": "clip:x", "images": ["a.jpg", "b.jpg"]}), "symbols")
