"""A dual encoder's image tower as a recognizer's image encoder: the same tokens, trained or frozen, saved, read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers_clip import make_tiny, make_tiny_clip
from helpers_train import RUN, WORDS, initialized, resolved_recipe, write_crops
from PIL import Image
from safetensors.torch import load_file, save_file

pytest.importorskip("transformers", reason="the clip extra is not installed")
pytest.importorskip("sentencepiece", reason="the clip extra is not installed")

from dptr.config.load import load_recipe
from dptr.config.model import ClipDualConfig, ClipVisionConfig, DualConfig, GlyphConfig, SVTRConfig
from dptr.config.train import AlignRecipe, FinetuneRecipe
from dptr.dual.base import load_dual
from dptr.dual.clip.families import FAMILIES
from dptr.dual.clip.vision_tower import tower_settings, tower_weights
from dptr.dual.glyph.model import build_glyph, save_glyph
from dptr.inference.reader import Reader
from dptr.models.checkpoint import load_recognizer, open_checkpoint, save_checkpoint
from dptr.models.decoders import DECODERS
from dptr.models.encoders.clip_vision import ClipVision
from dptr.models.loading import load_strictly
from dptr.models.recognizer import Recognizer, build_encoder, build_recognizer
from dptr.text.charset import resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.training.finetune import finetune
from dptr.training.optimizer import make_optimizer
from dptr.training.resolve import resolve_align
from dptr.utils.errors import UserError

SMALL = [
    'model.charset="36"', "model.max_length=5", "model.decoder.dim=16", "model.decoder.depth=1",
    "model.decoder.heads=2", "model.fmu.heads=2", "model.encoder.height=16", "model.encoder.width=64",
]  # fmt: skip


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By model type a folder with random weights; pictures of 32 x 32, patches of 8 x 8."""
    folder = tmp_path_factory.mktemp("towers")
    made = {"clip": make_tiny_clip(folder / "clip", width=32)}
    return made | {kind: make_tiny(kind, folder / kind) for kind in FAMILIES if kind != "clip"}


def encoder_of(folder: Path, frozen: bool = False) -> ClipVision:
    encoder = build_encoder(ClipVisionConfig(tower=tower_settings(str(folder)), frozen=frozen))
    load_strictly(encoder, tower_weights(str(folder)), str(folder))
    assert isinstance(encoder, ClipVision)
    return encoder.eval()


def pixels(count: int, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def recipe_of(folder: Path | str, *more: str) -> FinetuneRecipe:
    tower = [] if not folder else ["model.encoder.kind=clip-vision", f"model.encoder.model={folder}"]
    return load_recipe(FinetuneRecipe, None, [*RUN, *SMALL, *tower, *more])


def started(recipe: FinetuneRecipe) -> tuple[Recognizer, FinetuneRecipe, list[str]]:
    whole, charset = resolved_recipe(recipe)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_recognizer(whole.model, len(charset))
    return model, whole, initialized(model, recipe)


def refused(action: Callable[[], Any], *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message and all(part in message for part in parts), message


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILIES)
@torch.no_grad()
def test_tokens_are_those_of_the_dual_encoder(kind: str, towers: dict[str, Path]) -> None:
    dual = load_dual(DualConfig.of(kind=FAMILIES[kind].kind, model=str(towers[kind])))
    encoder = encoder_of(towers[kind])
    tokens = encoder(pixels(3))
    assert (encoder.dim, encoder.grid, encoder.leading) == (dual.dim, (4, 4), 1)
    torch.testing.assert_close(tokens, dual.encode_image(pixels(3)), rtol=0, atol=1e-5)
    assert (tokens[0] - tokens[1]).abs().max() > 1e-2


@torch.no_grad()
def test_pictures_are_resized_as_files_are(towers: dict[str, Path]) -> None:
    """Bicubic with antialiasing, as Pillow's; so a crop of another size gives the tokens of the stretched crop."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 6, 3), dtype=np.uint8)
    crop = Image.fromarray(noise).resize((64, 16), Image.Resampling.BICUBIC)
    encoder = encoder_of(towers["clip"])

    def pixels_of(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1

    tokens = encoder(pixels_of(crop))
    stretched = encoder(pixels_of(crop.resize((32, 32), Image.Resampling.BICUBIC)))
    assert tokens.shape == (1, 17, 32)
    torch.testing.assert_close(tokens, stretched, rtol=0, atol=0.05)  # Pillow rounds to bytes
    plain = F.interpolate(pixels_of(crop), (32, 32), mode="nearest")
    assert (encoder(plain) - stretched).abs().max() > 0.2


def test_pixel_statistics_of_the_checkpoint(towers: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(towers["clip"], tmp_path / "copy")
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (copy / "preprocessor_config.json").write_text(json.dumps(said))
    messages = tower_settings(str(copy))
    assert (messages.mean, messages.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert tower_settings(str(towers["clip"])).mean == FAMILIES["clip"].pixels[0]


def test_a_tower_without_its_pooling_head_has_no_leading_token(tmp_path: Path) -> None:
    encoder = encoder_of(make_tiny("siglip", tmp_path / "headless", vision_use_head=False))
    assert encoder.leading == 0 and encoder(pixels(1)).shape == (1, 16, 32)


# --- in a recognizer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("queries", [6, 0])
def test_every_decoder_with_and_without_an_fmu(decoder: str, queries: int, towers: dict[str, Path]) -> None:
    dim = 16 if queries else 32
    settings = [f"model.decoder.kind={decoder}", f"model.fmu.queries={queries}", f"model.decoder.dim={dim}"]
    model, _, messages = started(recipe_of(towers["clip"], *settings))
    assert messages[0] == f"encoder from {towers['clip']}"
    assert messages[1].startswith("fresh: fmu.*, decoder.*" if queries else "fresh: decoder.*")
    targets = torch.from_numpy(Tokenizer(resolve_charset("36"), 5).encode(["ab", "c"]))
    model.loss(pixels(2, 16, 64), targets, torch.Generator().manual_seed(0)).backward()
    gradient = model.encoder.tower.embeddings.patch_embedding.weight.grad
    assert gradient is not None and gradient.any()
    with torch.no_grad():
        assert model.eval()(pixels(2, 16, 64)).shape[2] == 37


def test_frozen_it_is_left_alone(towers: dict[str, Path]) -> None:
    model, resolved_recipe, messages = started(recipe_of(towers["clip"], "model.encoder.frozen=true"))
    assert messages[0] == f"encoder from {towers['clip']}, frozen"
    model.train()
    assert model.fmu.training and not any(module.training for module in model.encoder.modules())
    optimizer = make_optimizer([(model.encoder, 1.0), (model.fmu, 1.0), (model.decoder, 1.0)], resolved_recipe.optim)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for part in (model.fmu, model.decoder) for parameter in part.parameters()}
    targets = torch.from_numpy(Tokenizer(resolve_charset("36"), 5).encode(["ab", "c"]))
    model.loss(pixels(2, 16, 64), targets, torch.Generator().manual_seed(0)).backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())


@pytest.mark.parametrize("frozen", [True, False])
def test_trained_saved_read_without_the_hub_and_resumed(
    frozen: bool, towers: dict[str, Path], tmp_path: Path, font_folder: Path
) -> None:
    tower = shutil.copytree(towers["clip"], tmp_path / "tower")
    crops = write_crops(tmp_path / "crops", font_folder, WORDS[:12])
    data = [f'data.train=["{crops}"]', f'data.validation=["{crops}"]', f"model.encoder.frozen={str(frozen).lower()}"]
    out = tmp_path / "run"
    model = finetune(recipe_of(tower, *data, "run.steps=4"), out)
    shutil.move(tower, tmp_path / "away")
    loaded = load_recognizer(model)
    assert loaded.config.encoder.model == str(tower)
    weights = tower_weights(str(tmp_path / "away"))
    trained = load_file(next((out / "state").glob("step-*")) / "tensors.safetensors")
    same = [torch.equal(trained[f"model.model.encoder.{name}"], tensor) for name, tensor in weights.items()]
    assert all(same) if frozen else not all(same)
    slots = {name for name in trained if name.startswith("optimizer.model.encoder.")}
    assert not slots if frozen else len(slots) == 3 * len(weights)
    words = Reader(model).read([crops / f"{index}.png" for index in range(4)])
    assert len(words) == 4
    refused(
        lambda: finetune(recipe_of(tower, *data, "run.steps=4"), out, resume=True), "model.encoder.model", "no such"
    )
    shutil.move(tmp_path / "away", tower)
    assert finetune(recipe_of(tower, *data, "run.steps=4"), out, resume=True) == model
    assert load_recognizer(model).model(pixels(1, 16, 64)).shape[2] == 37


def test_a_whole_recognizer_goes_on_without_the_hub(towers: dict[str, Path], tmp_path: Path) -> None:
    model, first, _ = started(recipe_of(towers["clip"]))
    save_checkpoint(tmp_path / "model", "recognizer", model, first.model, resolve_charset("36"), {}, {})
    shutil.copytree(tmp_path / "model", tmp_path / "longer")
    recipe = load_recipe(
        FinetuneRecipe,
        None,
        [f"init.model={tmp_path / 'model'}", "model.encoder.kind=clip-vision", "model.encoder.frozen=true"],
    )
    again, now, messages = started(recipe)
    assert messages == [f"encoder and FMU from {tmp_path / 'model'}", f"decoder from {tmp_path / 'model'}"]
    assert now.model.encoder.tower == first.model.encoder.tower and now.model.encoder.frozen
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    own = [f"init.model={tmp_path / 'model'}", "model.encoder.kind=clip-vision", "model.encoder.model=another/one"]
    refused(lambda: resolved_recipe(load_recipe(FinetuneRecipe, None, own)), "init.model", "another/one", "one or the")


def test_from_stage_1_the_decoder_has_the_width_of_the_tokens(towers: dict[str, Path], tmp_path: Path) -> None:
    """Without an FMU a decoder that was taught on the dual encoder's text reads its image tokens as they are."""
    bare = recipe_of(towers["clip"], "model.fmu.queries=0", "model.decoder.dim=32")
    model, first, _ = started(bare)
    save_checkpoint(tmp_path / "stage1", "decoder", model.decoder, first.model, resolve_charset("36"), {}, {})
    tower = ["model.encoder.kind=clip-vision", f"model.encoder.model={towers['clip']}", "model.fmu.queries=0"]
    recipe = load_recipe(FinetuneRecipe, None, [f"init.decoder={tmp_path / 'stage1'}", *tower])
    again, _, messages = started(recipe)
    assert messages == [f"encoder from {towers['clip']}", f"decoder from {open_checkpoint(tmp_path / 'stage1').folder}"]
    dual = load_dual(ClipDualConfig(model=str(towers["clip"])))
    with torch.no_grad():
        memory = again.eval().memory(pixels(2))
        torch.testing.assert_close(memory, dual.encode_image(pixels(2)), rtol=0, atol=1e-5)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_no_model_is_named() -> None:
    kind = ["model.encoder.kind=clip-vision"]
    refused(lambda: resolved_recipe(load_recipe(FinetuneRecipe, None, kind)), "whose tower?", "model.encoder.model")


@pytest.mark.parametrize("model", ["openai/none-at-hand", "nowhere", "./no/such/folder"])
def test_no_such_model(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    remedies = ("pass --set model.encoder.model=FOLDER", "hf download", "model.encoder.kind=svtr")
    refused(lambda: resolved_recipe(recipe_of(model)), f"model.encoder.model = '{model}'", *remedies)


def test_a_model_without_an_image_tower(towers: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(towers["clip"], tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    refused(lambda: resolved_recipe(recipe_of(copy)), "model_type 'bert' has no image tower", "chinese_clip", "pass")
    (copy / "config.json").write_text(json.dumps(config | {"model_type": {"bert": 1}}))
    refused(lambda: resolved_recipe(recipe_of(copy)), "has no image tower", "pass")


def test_weights_without_the_image_tower(towers: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(towers["clip"], tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    text = {name: tensor for name, tensor in weights.items() if "vis" not in name}
    save_file(text, copy / "model.safetensors", {"format": "pt"})
    refused(lambda: started(recipe_of(copy)), f"{len(weights) - len(text)} weights of its image tower are missing")
    (copy / "model.safetensors").write_bytes(b"no weights")
    refused(lambda: started(recipe_of(copy)), "not a whole CLIP checkpoint")
    (copy / "model.safetensors").unlink()
    refused(lambda: resolved_recipe(recipe_of(copy)), "lacks model.safetensors")


def test_a_checkpoint_needs_no_tokenizer(towers: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(towers["clip"], tmp_path / "copy")
    for name in ("vocab.json", "merges.txt"):
        (copy / name).unlink()
    assert tower_weights(str(copy)).keys() == tower_weights(str(towers["clip"])).keys()


def test_transformers_missing(towers: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, first, _ = started(recipe_of(towers["clip"]))
    save_checkpoint(tmp_path / "model", "recognizer", model, first.model, resolve_charset("36"), {}, {})
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(
        lambda: resolved_recipe(recipe_of(towers["clip"])),
        "model.encoder.model",
        "pip install ./weights '.[train,clip]'",
    )
    refused(lambda: load_recognizer(tmp_path / "model"), "needs transformers", "pip install ./weights '.[train,clip]'")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "bert"}, "has no image tower 'bert'"),
        ({"num_attention_heads": 5}, "no image tower can be so"),
        ({"hidden_size": "wide"}, "no image tower can be so"),
    ],
)
def test_a_damaged_tower(change: dict[str, Any], named: str, towers: dict[str, Path]) -> None:
    tower = tower_settings(str(towers["clip"]))
    damaged = tower.model_copy(update={"vision": {**tower.vision, **change}})
    refused(lambda: build_encoder(ClipVisionConfig(tower=damaged)), named)


def test_heads_that_do_not_divide_and_widths_that_differ(towers: dict[str, Path]) -> None:
    refused(lambda: started(recipe_of(towers["clip"], "model.fmu.heads=3")), "fmu: ", "3 heads")
    bare = ("model.fmu.queries=0", "model.decoder.dim=16")
    refused(lambda: started(recipe_of(towers["clip"], *bare)), "encoder width 32", "decoder width 16")


def test_two_image_encoders_contradict(towers: dict[str, Path], tmp_path: Path) -> None:
    config = GlyphConfig(dim=16, encoder=SVTRConfig(size="nano", height=16, width=32), heads=2, max_length=5)
    save_glyph(tmp_path / "glyph", *build_glyph(config), config, {})
    both = recipe_of(towers["clip"], f"init.glyph={tmp_path / 'glyph'}")
    refused(lambda: resolved_recipe(both), "init.glyph", "one or the other")
    own = load_recipe(AlignRecipe, None, ["glyph.encoder.kind=clip-vision"])
    refused(lambda: resolve_align(own), "glyph.encoder.kind = 'clip-vision'", "vit or svtr")


def test_another_encoder_in_place_of_a_recognizers_tower(towers: dict[str, Path], tmp_path: Path) -> None:
    """A decoder taken from such a recognizer leaves the tower behind."""
    model, first, _ = started(recipe_of(towers["clip"]))
    save_checkpoint(tmp_path / "model", "recognizer", model, first.model, resolve_charset("36"), {}, {})
    start = [f"init.decoder={tmp_path / 'model'}", "model.encoder.kind=svtr", "model.encoder.size=nano"]
    _, now, messages = started(load_recipe(FinetuneRecipe, None, start))
    assert now.model.encoder == SVTRConfig(size="nano", height=16, width=64)
    assert any(line.startswith("fresh: encoder.*") for line in messages)


def test_recognizers_load_without_transformers() -> None:
    code = "import sys, dptr.models.checkpoint, dptr.training.finetune; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=240).returncode == 0
