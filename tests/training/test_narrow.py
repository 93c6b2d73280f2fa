"""Crops with fewer image tokens than their label needs: counted where they are loaded, and as they are drawn."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
import torch
from helpers_train import Parts
from PIL import Image

from dptr.config.load import load_recipe
from dptr.config.model import PPOCRConfig
from dptr.config.train import FinetuneRecipe
from dptr.models.checkpoint import load_recognizer
from dptr.models.recognizer import Recognizer
from dptr.training.finetune import finetune
from dptr.training.narrow import NarrowCrops, tokens_needed
from dptr.utils.sizes import CropSizes


@pytest.fixture(scope="module")
def latin() -> Recognizer:
    return load_recognizer("dptr-latin").model


def test_a_label_needs_as_many_tokens_as_give_it_a_path() -> None:
    for length in range(1, 5):
        for classes in product((1, 2, 3), repeat=length):
            label = "".join("-abc"[each] for each in classes)
            losses = {}
            for tokens in range(1, 9):
                shares = torch.full((tokens, 4), 0.25).log()
                losses[tokens] = torch.nn.functional.ctc_loss(
                    shares, torch.tensor(classes), torch.tensor(tokens), torch.tensor(length)
                )
            assert min(tokens for tokens, loss in losses.items() if loss.isfinite()) == tokens_needed(label), label


@pytest.mark.parametrize("path", ["tokens", "queries"])
def test_crops_that_teach_nothing_are_counted(
    path: str, parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Crops of 16 pixels have four tokens."""
    folder = tmp_path / "crops"
    folder.mkdir()
    labels = {"a": "apple", "b": "bread", "c": "all", "d": "ab", "e": "egg"}
    for name in labels:
        Image.new("RGB", (16, 16)).save(folder / f"{name}.png")
    (folder / "labels.tsv").write_text("".join(f"{name}.png\t{label}\n" for name, label in labels.items()))
    keys = ["init.glyph=", "init.decoder=", 'model.encoder={kind="svtr", size="nano", height=16, width=16}']
    decoder = '{kind="ctc", path="tokens", dim=128}' if path == "tokens" else '{kind="ctc", dim=64}'
    fmu = ["model.fmu.queries=0"] if path == "tokens" else []
    sets = f'data.train=["{folder}"]', f'data.validation=["{folder}"]', "data.rendered=0"
    steps = "run.steps=5", "run.batch_size=2", "run.gradient_accumulation_steps=1"
    recipe = parts.recipe("finetune", *keys, f"model.decoder={decoder}", *fmu, *sets, *steps)
    finetune(recipe, tmp_path / "run")
    said = [line for line in capsys.readouterr().err.splitlines() if "fewer image tokens" in line]
    if path == "queries":
        assert not said
    else:
        first, last = said
        assert first.startswith("2 crops have fewer image tokens than their label needs and teach nothing: ")
        assert "a.png: 'apple' needs 6 and has 4; " in first and first.endswith("b.png: 'bread' needs 5 and has 4")
        assert last == "4 of 10 crops that were drawn had fewer image tokens than their label needs and taught nothing"


@pytest.mark.parametrize(("stretch", "advised"), [(1, 2), (1.25, 2.5), (2, 4), (2.5, None), (4, None)])
def test_the_remedy_is_that_of_the_encoder(stretch: float, advised: float | None, latin: Recognizer) -> None:
    """``model.encoder.stretch`` is a key of PP-OCRv6's encoder only."""
    counter = NarrowCrops.of_model(latin, CropSizes(48, 64, 960, stretch=stretch))
    counter.count(32, ["four", "fives"])
    (line,) = counter.summary()
    assert line.startswith("1 of 2 crops")
    settings = re.findall(r"--set (\S+)", line)
    if advised is None:
        assert not settings
    else:
        encoder = load_recipe(FinetuneRecipe, None, settings).model.encoder
        assert isinstance(encoder, PPOCRConfig) and encoder.stretch == advised
    assert "stretch" not in NarrowCrops(4, drawn=2, narrow=1).summary()[0]
