"""CLIP in stage 1 and for banks, against numbers that DPTR's public code computed (tests/golden/published.json)."""

from __future__ import annotations

from pathlib import Path

import helpers_published as published
import pytest
import torch
from helpers_published import golden, sample

from dptr.config.model import ClipDualConfig
from dptr.dual.clip.encoder import ClipDual, load_clip
from dptr.dual.orp.bank import build_bank
from dptr.utils.images import crop_center

GOLDEN = golden()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipDual:
    return load_clip(ClipDualConfig(model=str(published.tiny_clip(tmp_path_factory.mktemp("clip"))), tokens="paper"))


def close(found: torch.Tensor, expected: list[float], atol: float = 1e-5) -> None:
    torch.testing.assert_close(torch.tensor(sample(found)), torch.tensor(expected), atol=atol, rtol=1e-5)


def test_prompts_are_the_published_tokens(clip: ClipDual) -> None:
    assert clip._token_ids(published.PROMPTED) == GOLDEN["clip"]["ids"]


def test_memory_of_78_tokens_equals_the_published_one(clip: ClipDual) -> None:
    memory, mask = clip.encode_text(published.PROMPTED)
    assert list(memory.shape) == GOLDEN["clip"]["memory"]["shape"] == [4, 78, published.CLIP_WIDTH]
    assert bool(mask.all())
    close(memory, GOLDEN["clip"]["memory"]["values"])


def test_center_crops_equal_clips_own() -> None:
    side = published.CLIP_PIXELS
    for size, expected in zip(published.PHOTOGRAPHS, GOLDEN["center crop"], strict=True):
        close(torch.from_numpy(crop_center(published.photograph(*size), side, side).copy()), expected)


def test_a_bank_of_center_crops_holds_the_published_tokens(clip: ClipDual, tmp_path: Path) -> None:
    """float16, of values up to 4: they differ by 1e-3 at most."""
    files = []
    for number, size in enumerate(published.PHOTOGRAPHS):
        files.append(tmp_path / f"{number}.png")
        published.photograph(*size).save(files[-1])
    bank = build_bank(clip, files, tmp_path / "bank", center_crop=True)
    assert bank.provenance["pictures"] == "center crop"
    assert list(bank.tokens.shape) == GOLDEN["clip"]["image tokens"]["shape"]
    expected = GOLDEN["clip"]["image tokens"]["values"][:-1]
    torch.testing.assert_close(torch.tensor(sample(bank.tokens))[:-1], torch.tensor(expected), atol=2e-3, rtol=0)
    stretched = build_bank(clip, files, tmp_path / "stretched")
    assert not torch.allclose(stretched.tokens.float(), bank.tokens.float(), atol=0.1)
