"""Parts bring their settings; the recipe's own keys win."""

from __future__ import annotations

import pytest
import torch

from dptr.checkpoint import save_checkpoint
from dptr.config import (
    DecoderConfig,
    EncoderConfig,
    FinetuneRecipe,
    FMUConfig,
    GlyphConfig,
    InitConfig,
    ModelConfig,
    PretrainRecipe,
    load_recipe,
)
from dptr.dual.glyph import build_glyph, save_glyph
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import Charset
from dptr.train.settle import settle_finetune, settle_pretrain

ENCODER = EncoderConfig(size="nano", height=16, width=64)
MODEL = ModelConfig(
    encoder=ENCODER, fmu=FMUConfig(queries=9, heads=2), decoder=DecoderConfig(dim=32, depth=1, heads=2), max_length=8
)
CHARSET = Charset("three", tuple("abc"))


@pytest.fixture
def recogniser(tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "whole", "recogniser", build_recognizer(MODEL, 3), MODEL, CHARSET, {}, {})
    return str(tmp_path / "whole")


@pytest.fixture
def decoder(tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "stage1", "decoder", build_recognizer(MODEL, 3).decoder, MODEL, CHARSET, {}, {})
    return str(tmp_path / "stage1")


def test_a_whole_recogniser_brings_everything(recogniser):
    recipe, charset = settle_finetune(FinetuneRecipe(init=InitConfig(model=recogniser)))
    assert recipe.model == MODEL
    assert charset == CHARSET


def test_keys_of_the_recipe_stand_above(recogniser):
    overrides = [f'init.model="{recogniser}"', "model.decoder.dropout=0.3", 'model.charset="36"']
    recipe, charset = settle_finetune(load_recipe(FinetuneRecipe, None, overrides))
    assert recipe.model.decoder == MODEL.decoder.model_copy(update={"dropout": 0.3})
    assert recipe.model.encoder == ENCODER
    assert charset.name == "36"


def test_a_decoder_and_a_glyph_encoder_meet(tmp_path, decoder):
    config = GlyphConfig(dim=32, encoder=ENCODER, heads=2, layers=2, max_length=8)
    model, charset = build_glyph(config)
    save_glyph(tmp_path / "glyph", model, charset, config, {})
    init = InitConfig(decoder=decoder, glyph=str(tmp_path / "glyph"))
    recipe, charset = settle_finetune(FinetuneRecipe(init=init))
    assert recipe.model.encoder == ENCODER
    assert recipe.model.fmu == FMUConfig(queries=9, heads=2, layers=2)
    assert recipe.model.decoder == MODEL.decoder
    assert recipe.model.max_length == 8
    assert charset == CHARSET


def test_without_parts_the_defaults_stand():
    recipe, charset = settle_finetune(FinetuneRecipe())
    assert recipe.model == ModelConfig()
    assert charset.name == "94"


def test_stage_1_takes_the_width_of_the_tokens():
    class Dual:
        dim = 48

    assert settle_pretrain(PretrainRecipe(), Dual()).model.decoder.dim == 48
    own = load_recipe(PretrainRecipe, None, ["model.decoder.dim=64"])
    assert settle_pretrain(own, Dual()) is own
