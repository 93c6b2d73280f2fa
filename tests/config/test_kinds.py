"""Encoders, decoders and dual encoders are unions by kind: a key of another kind is an error that names it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dptr.config.decoders import DECODER_CONFIGS
from dptr.config.load import load_recipe
from dptr.config.model import (
    DUAL_CONFIGS,
    ENCODER_CONFIGS,
    DecoderConfig,
    DualConfig,
    EncoderConfig,
    ModelConfig,
    PARSeqConfig,
    SVTRConfig,
    ViTConfig,
)
from dptr.config.train import FinetuneRecipe, PretrainRecipe
from dptr.dual.base import DUAL_ENCODERS
from dptr.models.decoders import DECODERS
from dptr.models.encoders import svtr, vit
from dptr.models.recognizer import ENCODERS
from dptr.utils.errors import UserError

BASES = {DecoderConfig: DECODERS, EncoderConfig: ENCODERS, DualConfig: DUAL_ENCODERS}
CASES = [(base, kind) for base, registry in BASES.items() for kind in registry]


@pytest.mark.parametrize(("base", "kind"), CASES)
def test_a_kind_has_its_class_and_passes_through_json(base: type, kind: str) -> None:
    part = base.of(kind=kind)
    assert type(part) is base.kinds().get(kind, base) and part.kind == kind
    assert base.model_validate(part.model_dump(mode="json")) == part
    assert base.of(**part.model_dump(exclude_unset=True)) == part


def test_every_class_belongs_to_a_kind_that_is_built() -> None:
    assert DECODER_CONFIGS.keys() <= DECODERS.keys()
    assert ENCODER_CONFIGS.keys() == ENCODERS.keys()
    assert DUAL_CONFIGS.keys() == DUAL_ENCODERS.keys()


def test_sizes_are_those_that_are_built() -> None:
    for config, sizes in ((ViTConfig, vit.SIZES), (SVTRConfig, svtr.SIZES)):
        for size in sizes:
            assert config(size=size).size == size
        with pytest.raises(ValidationError, match="Input should be"):
            config(size="gigantic")


@pytest.mark.parametrize(("base", "kind"), CASES)
def test_keys_of_other_kinds_are_refused_by_name(base: type, kind: str) -> None:
    own = base.kinds().get(kind, base).model_fields
    foreign = {key: name for name, other in base.kinds().items() for key in other.model_fields if key not in own}
    for key in foreign:
        with pytest.raises(ValidationError, match=f"kind '{kind}' has no key '{key}', which is one of "):
            base.of(kind=kind, **{key: 1})


@pytest.mark.parametrize(
    ("schema", "overrides", "message"),
    [
        (
            FinetuneRecipe,
            ["model.decoder.steps=2"],
            "model.decoder.steps: kind 'parseq' has no such key, which is one of mdiff",
        ),
        (FinetuneRecipe, ["model.decoder.steps=2"], "set model.decoder.kind=mdiff"),
        (FinetuneRecipe, ["model.encoder.kind=vit", "model.encoder.max_width=256"], "set model.encoder.kind=svtr"),
        (FinetuneRecipe, ["model.decoder.kind=ctc", "model.decoder.permutations=2"], "kind 'ctc' has no such key"),
        (PretrainRecipe, ["dual.prompt=spelled"], "dual.prompt: kind 'glyph' has no such key, which is one of clip"),
        (FinetuneRecipe, ["model.encoder.kind=svtrr", "model.encoder.size=tiny"], "one of vit, svtr; leave it out"),
        (PretrainRecipe, ["dual.kind=clip", "dual.promt=spelled"], "did you mean 'dual.prompt'?"),
        (FinetuneRecipe, ["model.encoder.size=gigantic"], "'nano', 'micro', 'tiny' or 'small'"),
    ],
)
def test_the_line_for_the_user(schema: type, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(schema, None, overrides)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_recipe_holds_parts_of_any_kind() -> None:
    model = ModelConfig(encoder=ViTConfig(size="tiny"), decoder=DecoderConfig.of(kind="mdiff", steps=4))
    assert ModelConfig.model_validate(model.model_dump()) == model
    recipe = FinetuneRecipe(model=model)
    assert FinetuneRecipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert isinstance(FinetuneRecipe().model.decoder, PARSeqConfig)


def test_a_part_of_no_kind_cannot_be_made() -> None:
    for make in (DualConfig, lambda: DecoderConfig(kind="mdiff"), lambda: EncoderConfig(kind="svtr")):
        with pytest.raises(TypeError, match=r"lacks the keys of its kind; make it by \w+\.of"):
            make()
    assert DecoderConfig(kind="mine", dim=16) == DecoderConfig.of(kind="mine", dim=16)
