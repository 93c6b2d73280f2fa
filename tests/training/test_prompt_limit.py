"""Words beyond the text tower's context are out of a run before it begins."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_clip import make_tiny, make_tiny_clip
from helpers_train import Parts, records

from dptr.config.load import load_recipe
from dptr.config.model import DualConfig
from dptr.config.train import PretrainRecipe
from dptr.data.lmdb import write_lmdb
from dptr.dual.base import load_dual
from dptr.dual.glyph.model import load_glyph
from dptr.training.pretrain import pretrain
from dptr.training.prompt_limit import REASON, prompt_limit
from dptr.utils.errors import UserError

HAN = "中文字识别测试"


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("towers")
    return {"clip": make_tiny_clip(folder / "clip", width=16), "chinese-clip": make_tiny("chinese_clip", folder / "zh")}


def words() -> list[str]:
    """Of 1 to 60 characters: ASCII of both cases with signs, Han, and mixed."""
    rng = np.random.default_rng(0)
    alphabets = [string.ascii_letters + ".,-'", string.ascii_uppercase, HAN, HAN + "abc"]
    return ["".join(rng.choice(list(alphabets[n % 4]), 1 + n % 60)) for n in range(240)]


@pytest.mark.parametrize("prompt", ["a photo of a '{}'", "marked", "spelled"])
@pytest.mark.parametrize("kind", ["clip", "chinese-clip"])
def test_what_fits_is_what_the_tower_takes(kind: str, prompt: str, towers: dict[str, Path]) -> None:
    dual: Any = load_dual(DualConfig.of(kind=kind, model=str(towers[kind]), prompt=prompt))
    limit = prompt_limit(dual)
    assert limit is not None
    some = [word for word in words() if kind == "clip" or not set(word) & set(".,-'")]

    def taken(word: str) -> bool:
        try:
            dual.encode_text([word])
        except UserError as error:
            assert "tokens with its prompt" in str(error)
            return False
        return True

    truth = [taken(word) for word in some]
    assert {True, False} == set(truth)
    assert list(limit.fits(some)) == truth
    assert [limit.fits([word])[0] for word in some] == truth


def test_glyph_takes_every_word(parts: Parts) -> None:
    assert prompt_limit(load_glyph(parts.recipe("pretrain").dual)) is None


def test_stage_1_counts_words_that_are_too_long_and_goes_on(
    parts: Parts, tmp_path: Path, towers: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """25 Han characters are 75 tokens of bytes. One such word used to end the run in the step that drew it."""
    (tmp_path / "letters.txt").write_text(HAN)
    labels = [HAN, HAN[::-1], HAN * 3 + "中", HAN * 3 + "中文字识", "中", HAN * 3 + "中文字识"]
    write_lmdb(tmp_path / "set", ((b"-", label) for label in labels))
    sources = f"[{{kind='labels', path={json.dumps(str(tmp_path / 'set'))}}}]"
    settings = [
        f"model.charset={tmp_path / 'letters.txt'}", "model.max_length=25", "dual.kind=clip",
        f"dual.model={towers['clip']}", "orp.strength=0", f"corpus.sources={sources}", "corpus.heldout=0",
        f"validation={sources}", "run.steps=6", "run.tensorboard=false", "run.validate_every=6",
    ]  # fmt: skip
    kept = [setting for setting in parts.settings("pretrain") if setting.startswith(("run.", "model.decoder"))]
    pretrain(load_recipe(PretrainRecipe, None, [*kept, *settings]), tmp_path / "run")
    assert f"left out: {REASON} 2" in capsys.readouterr().err
    (scores,) = (record for record in records(tmp_path / "run") if "validation_validation_words" in record)
    assert set(scores) >= {"validation_validation_words", "validation_random_strings"}
