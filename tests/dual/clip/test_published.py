"""CLIP in stage 1 and for banks, against numbers that DPTR's public code computed (tests/golden/published.json)."""

from __future__ import annotations

from pathlib import Path

import helpers_published as published
import numpy as np
import pytest
import torch
from helpers_published import MODELS, close, cut, golden, weights

from dptr.cli.app import run
from dptr.config.model import ClipDualConfig
from dptr.dual.clip.encoder import ClipDual, load_clip
from dptr.dual.orp.bank import build_bank
from dptr.inference.torch_backend import to_probabilities
from dptr.models.checkpoint import open_checkpoint, transfer
from dptr.models.recognizer import build_decoder
from dptr.text.tokenizer import Tokenizer
from dptr.utils.resize import crop_center

GOLDEN = golden()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipDual:
    return load_clip(ClipDualConfig(model=str(published.tiny_clip(tmp_path_factory.mktemp("clip"))), tokens="paper"))


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


def test_image_tokens_of_center_crops_equal_the_published_ones(clip: ClipDual, tmp_path: Path) -> None:
    """In a bank they are rounded to float16."""
    side, files = published.CLIP_PIXELS, []
    crops = np.stack([crop_center(published.photograph(*size), side, side) for size in published.PHOTOGRAPHS])
    tokens = clip.encode_image(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1)
    close(tokens, GOLDEN["clip"]["image tokens"]["values"])
    for number, size in enumerate(published.PHOTOGRAPHS):
        files.append(tmp_path / f"{number}.png")
        published.photograph(*size).save(files[-1])
    bank = build_bank(clip, files, tmp_path / "bank", center_crop=True)
    assert bank.provenance["pictures"] == "center crop"
    assert list(bank.tokens.shape) == GOLDEN["clip"]["image tokens"]["shape"]
    torch.testing.assert_close(bank.tokens, tokens.half(), atol=2e-3, rtol=2e-3)
    stretched = build_bank(clip, files, tmp_path / "stretched")
    assert not torch.allclose(stretched.tokens.float(), bank.tokens.float(), atol=0.1)


@torch.no_grad()
def test_an_imported_stage_1_decoder_spells_as_the_public_one(tmp_path: Path, capsys) -> None:
    """From the memory of a tiny CLIP with the same weights; the frozen CLIP in the file is left out and counted."""
    tensors = weights(MODELS["stage 1"])
    file, out = tmp_path / "weights.pth", tmp_path / "model"
    torch.save({"epoch": 3, "state_dict": tensors, "optimizer": None}, file)
    assert run(["import", str(file), "-o", str(out), "--heads", str(published.MODEL_HEADS["stage 1"])]) == 0
    frozen = sum("clip_encoder" in name for name in tensors)
    assert f"left out: {frozen} tensors" in capsys.readouterr().err
    checkpoint, expected = open_checkpoint(out), GOLDEN["models"]["stage 1"]
    assert checkpoint.kind == "decoder" and checkpoint.dual["kind"] == "clip"
    decoder = build_decoder(checkpoint.config, len(checkpoint.charset))
    transfer(decoder, checkpoint, checkpoint.charset)
    logits = decoder.eval().decode(published.text_memory(), None)
    close(cut(logits.softmax(-1)), expected["probabilities"])
    tokenizer = Tokenizer(checkpoint.charset, checkpoint.config.max_length)
    assert [decoded.text for decoded in tokenizer.decode(to_probabilities(logits))] == expected["words"]
