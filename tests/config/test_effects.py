"""Effects, presets and sizes of rendered crops: what cannot be is refused before anything is rendered."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dptr.config.effects import PRESETS, RENAMED_EFFECTS, Effects
from dptr.config.load import load_recipe
from dptr.config.model import SVTRConfig
from dptr.config.renamed_render import RENAMED_RENDER
from dptr.config.render import RenderConfig, plain_render
from dptr.config.size import CropSize
from dptr.config.train import AlignRecipe, FinetuneRecipe, SynthRecipe
from dptr.utils.errors import UserError


def test_effects_stand_above_the_preset(tmp_path: Path) -> None:
    recipe = load_recipe(SynthRecipe, None, ["render.preset=hard", "render.effects.blur=0.25"])
    expected = PRESETS["hard"].model_copy(update={"blur": 0.25})
    assert recipe.render.probabilities() == expected != PRESETS["hard"]
    assert SynthRecipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert recipe.model_dump()["render"]["effects"] == {"blur": 0.25}
    (tmp_path / "own.toml").write_text("blur = 1.0\n")
    own = RenderConfig(preset=str(tmp_path / "own.toml"), effects={"noise": 0})
    assert own.probabilities() == Effects(blur=1.0, noise=0.0)
    assert plain_render(own).probabilities() == PRESETS["plain"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["render.preset=hrad"],
            r"unknown preset 'hrad'; choose default, signs, .*, mixed, plain, or pass",
        ),
        (["render.preset=none.toml"], r"preset none\.toml: No such file"),
        (["render.effects.blurr=1"], r"unknown effect 'blurr'; did you mean 'blur'\?"),
        (["render.effects.grey=1"], r"effect 'grey' is now called 'grayscale'"),
        (["render.effects.blur=2"], r"effect blur = 2\.0: Input should be less than or equal to 1"),
        (["render.effects.blur=much"], r"render\.effects\.blur = \"much\""),
        (["render.effects.neon=0.6", "render.effects.chalk=0.6"], r"take more than all crops"),
        (["render.effects.double_outline=1", "render.effects.outline=0"], r"raise outline, or set double_outline to 0"),
        (["render.effects.photograph=1"], r"without photographs; name a folder of them in backgrounds"),
        (["size.width=100", "size.max_width=110"], r"in steps of 32 pixels; set it to 0 or to one of 132, 164"),
    ],
)
def test_what_cannot_be_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(SynthRecipe, None, settings)


@pytest.mark.parametrize("text", ["blurr = 1\n", "blur\n", "blur = 3\n", "[render]\nblur = 1\n"])
def test_a_file_that_is_no_preset_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(UserError, match=r"preset .*own\.toml: "):
        load_recipe(SynthRecipe, None, [f"render.preset={tmp_path / 'own.toml'}"])


@pytest.mark.parametrize(("old", "new"), RENAMED_RENDER.items())
def test_old_keys_name_the_new_ones(old: str, new: str) -> None:
    with pytest.raises(UserError, match=rf"old key '{old}'; it is now '{new}'$"):
        load_recipe(SynthRecipe, None, [f"{old}=0"])
    load_recipe(SynthRecipe, None, [f"{new}=0" if "effects" in new else f"{new}=128"])


def test_training_takes_the_size_of_the_encoder() -> None:
    for schema in (AlignRecipe, FinetuneRecipe):
        with pytest.raises(UserError, match=r"old key 'render\.width'; leave it out: .* the image encoder reads"):
            load_recipe(schema, None, ["render.width=64"])
    encoder = SVTRConfig(height=16, width=32, max_width=96)
    assert encoder.crop_size == CropSize(height=16, width=32, max_width=96)


def test_old_names_are_gone_and_new_ones_exist() -> None:
    assert not set(RENAMED_EFFECTS) & set(Effects.model_fields)
    assert set(RENAMED_EFFECTS.values()) <= set(Effects.model_fields)
    assert len(Effects.model_fields) == len(tomllib.loads("\n".join(f"{name} = 0" for name in Effects.model_fields)))
