"""The study's controls change what they say they change, and its intervals are those of theory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dptr.config.model import GlyphConfig, GlyphDualConfig
from dptr.dual.glyph.model import GlyphDual, build_glyph, load_glyph, save_glyph
from dptr.dual.orp.bank import Bank
from dptr.dual.orp.residuals import perturb_by_symbol, tabulate_residuals

EVIDENCE = Path(__file__).resolve().parents[2] / "research" / "evidence"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EVIDENCE))
    for name in ("intervals", "study", "study_controls"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> GlyphDual:
    folder = tmp_path_factory.mktemp("glyph") / "model"
    config = GlyphConfig.model_validate({"charset": "36", "max_length": 6, "encoder": {"size": "nano"}})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, charset = build_glyph(config)
    save_glyph(folder, model, charset, config, {})
    return load_glyph(GlyphDualConfig(model=str(folder)))


def change(dual: GlyphDual, model: object, folder: Path) -> GlyphDual:
    save_glyph(folder, model, dual.charset, dual.config, {})
    return load_glyph(GlyphDualConfig(model=str(folder)))


def test_no_letter_keeps_its_place() -> None:
    from study_controls import permute_letters

    for count in (2, 3, 94):
        order = permute_letters(count, 7)
        assert sorted(order) == list(range(count))
        assert not (order == np.arange(count)).any()
    assert (permute_letters(94, 7) != permute_letters(94, 8)).any()
    with pytest.raises(ValueError, match="1 character"):
        permute_letters(1, 0)


def test_permuted_text_says_other_letters(dual: GlyphDual, tmp_path: Path) -> None:
    from study_controls import permute_letters, permuted_text

    order = permute_letters(36, 1)
    changed = change(dual, permuted_text(dual.model, order), tmp_path / "permuted")
    wrong = dict(zip(dual.charset.characters, (dual.charset.characters[i] for i in order), strict=True))
    words = ["abc", "z09", "", "qwerty"]
    torch.testing.assert_close(
        changed.encode_text(words)[0], dual.encode_text(["".join(wrong[c] for c in word) for word in words])[0]
    )
    pixels = torch.zeros(1, 3, *dual.image_size)
    torch.testing.assert_close(changed.encode_image(pixels), dual.encode_image(pixels))


def test_permuted_residuals_give_slots_of_the_wrong_letter(dual: GlyphDual, tmp_path: Path) -> None:
    from study_controls import permute_letters, permuted_text, relabel_bank

    order = permute_letters(36, 1)
    changed = change(dual, permuted_text(dual.model, order), tmp_path / "permuted")
    words = ["a", "bb", "ccc"]
    slots = torch.arange(3.0)[:, None, None].expand(3, 7, 128)  # all slots of crop i hold the number i
    text = dual.encode_text(words)[0]
    bank = Bank((slots - text).half(), {"images": words, "fingerprint": dual.fingerprint, "encoder": "glyph:test"})
    relabeled = relabel_bank(bank, dual, changed, order)
    assert relabeled.provenance["fingerprint"] == changed.fingerprint
    characters = dual.charset.characters
    right = {characters[wrong]: characters[i] for i, wrong in enumerate(order)}
    for number, letter in enumerate("abc"):
        word = right[letter]
        memory, _ = changed.encode_text([word])
        moved = perturb_by_symbol(memory, [word], tabulate_residuals(relabeled), 1.0, torch.Generator().manual_seed(0))
        # The residual may come from another slot of that crop, whose text token differs by its place.
        places = torch.stack([slots[number, 0] - text[number, i] + memory[0, 0] for i in range(number + 1)])
        assert (places - moved[0, 0]).abs().amax(1).min() < 5e-3


def test_random_and_constant_text(dual: GlyphDual) -> None:
    from study_controls import constant_text, random_text

    table = dual.model.text.table()
    drawn = random_text(dual.model, 3).text.table()
    assert drawn.norm(dim=-1).mean().item() == pytest.approx(table.norm(dim=-1).mean().item(), rel=1e-4)
    assert torch.cosine_similarity(drawn, table, dim=-1).mean().abs() < 0.2
    constant = constant_text(dual.model).text.table()
    torch.testing.assert_close(constant, table.mean((0, 1)).expand_as(constant))


def test_noise_has_the_size_of_residuals_and_centering_leaves_no_mean(dual: GlyphDual) -> None:
    from study_controls import center, whiten

    residuals = Bank((3 * torch.randn(50, 7, 128, generator=torch.Generator().manual_seed(0)) + 1).half(), {})
    noise = whiten(residuals, 0).tokens.float()
    assert noise.square().mean().sqrt().item() == pytest.approx(10**0.5, rel=0.02)
    assert abs(noise.mean().item()) < 0.05
    assert center(residuals).tokens.float().mean((0, 1)).abs().max() < 1e-2


def test_interval_of_one_seed_is_the_normal_one() -> None:
    from intervals import compare_arms

    random = np.random.default_rng(0)
    one, other = random.random((1, 2000)) < 0.6, random.random((1, 2000)) < 0.5
    found = compare_arms([one], [other])
    gains = one[0].astype(float) - other[0]
    error = gains.std() / 2000**0.5
    assert found.mean == pytest.approx(gains.mean())
    assert found.low == pytest.approx(gains.mean() - 1.96 * error, abs=0.01 * error)
    assert found.high == pytest.approx(gains.mean() + 1.96 * error, abs=0.01 * error)


def test_seeds_that_differ_widen_the_interval_and_sets_count_alike() -> None:
    from intervals import compare_arms

    nothing = np.zeros((3, 500), bool)
    alike, apart = np.zeros((3, 500), bool), np.zeros((3, 500), bool)
    alike[:, :250], apart[0, :] = True, True
    apart[1, :250] = True
    narrow, wide = compare_arms([alike], [nothing]), compare_arms([apart], [nothing])
    assert narrow.mean == wide.mean == 0.5
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    small = np.ones((3, 10), bool)
    assert compare_arms([small, nothing], [np.zeros_like(small), nothing]).mean == 0.5
    with pytest.raises(ValueError, match="cannot be paired"):
        compare_arms([alike], [small])


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.4])
def test_of_intervals_over_three_seeds_19_in_20_hold_the_truth(spread: float) -> None:
    """Simulated: crops of many difficulties, and arms whose seeds differ by ``spread`` (standard deviation, logits)."""
    from intervals import compare_arms

    random = np.random.default_rng(0)
    rounds, held = 400, 0
    for _ in range(rounds):
        seeds = random.normal(0, spread, (2, 3, 1))
        arms = [], []
        for _ in range(2):
            crops = random.normal(0.5, 2, 300)
            for arm, shift in zip(arms, seeds, strict=True):
                arm.append(random.random((3, 300)) < 1 / (1 + np.exp(-crops - shift)))
        found = compare_arms(*arms)
        held += found.low <= 0 <= found.high
    assert 0.92 <= held / rounds <= 0.98


def test_runs_that_are_not_read_are_blank() -> None:
    import study

    def marks(right: int) -> dict[str, str]:
        return dict.fromkeys(study.TESTS, "1" * right + "0" * (4 - right))

    options = argparse.Namespace(out=Path("runs"), seeds=[0], arms=["text", "permuted"], labels=[100, 500])
    readings = {f"runs/seed0/{arm}-500/model": marks(right) for arm, right in (("text", 3), ("permuted", 1))}
    lines = study.table(readings, options).splitlines()
    assert [line.split("|")[2:4] for line in lines[2:4]] == [["  ", " 75.0 (75.0-75.0) "], ["  ", " 25.0 (25.0-25.0) "]]
    assert lines[-1].startswith("| H3: text over permuted |  | +50.0")
