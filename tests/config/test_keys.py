"""Every key of a recipe is read by its command, and there are few enough to know.

Reads are recorded on ``Config`` itself while each command runs for a step: a key counts as read when code of the
package takes it from its part, other than the part's own validators. What reads all of a part at once (recipe.json,
the card) goes past this and does not count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers_clip import make_tiny_clip
from helpers_train import VALIDATION, Parts, make_parts, write_crops
from pydantic import BaseModel

import dptr
from dptr.config.base import Config, KindConfig
from dptr.config.load import load_recipe
from dptr.config.model import ClipDualConfig, ClipVisionConfig, DecoderConfig, EncoderConfig
from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe, SynthRecipe
from dptr.dual.base import load_dual
from dptr.dual.clip.vision_tower import tower_settings
from dptr.dual.text_cache import cache_of
from dptr.models.decoders import DECODERS
from dptr.models.recognizer import ENCODERS
from dptr.training import adapt, align, finetune, pretrain, sources
from dptr.training.resolve import resolve_synth

Reads = set[tuple[type, str]]
PACKAGE = str(Path(dptr.__file__).parent)
MOST = 91  # keys of one recipe; the renderer's section is counted where it is defined
TRAIN: dict[str, Callable[..., Path]] = {
    "teach": align.align, "pretrain": pretrain.pretrain, "finetune": finetune.finetune, "adapt": adapt.adapt,
}  # fmt: skip
ENABLING = {  # settings without which keys rest: parts to start from, a teacher, ORP
    "teach": ["init.glyph={glyph}", "init.decoder={decoder}"],
    "pretrain": [],
    "finetune": ["init.glyph=", "init.decoder=", "init.model={recognizer}", "distillation.model={recognizer}"],
    "adapt": [],
}
RESTING = (
    "corpus.punctuation",  # read where the charset has signs, as that of the pack does
    "corpus.cache", "data.window",  # read where there are shards
)  # fmt: skip


@contextmanager
def recorded() -> Iterator[Reads]:
    """Which fields of which classes the package reads meanwhile."""
    reads: Reads = set()
    fields: dict[type, frozenset[str]] = {}

    def read(self: Config, name: str) -> Any:
        kind = object.__getattribute__(self, "__class__")
        if name in fields.setdefault(kind, frozenset(kind.__pydantic_fields__)):
            code = sys._getframe(1).f_code
            validator = code.co_filename.startswith(f"{PACKAGE}/config/") and code.co_name.startswith("_")
            if code.co_filename.startswith(PACKAGE) and not validator:
                reads.add((kind, name))
        return object.__getattribute__(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, "__getattribute__", read, raising=False)
        yield reads


def leaves(config: Config, prefix: str = "") -> dict[str, tuple[type, str]]:
    """Each key that holds a value by its dotted name: the class and the field."""
    found: dict[str, tuple[type, str]] = {}
    for name, value in config:
        if isinstance(value, Config):
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = (type(config), name)
    return found


def unread(recipe: Config, reads: Reads, resting: Sequence[str] = ()) -> list[str]:
    keys = leaves(recipe)
    return [key for key, field in keys.items() if field not in reads and not key.startswith(("render.", *resting))]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, font_folder: Path) -> Parts:
    return make_parts(tmp_path_factory.mktemp("parts"), font_folder)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (adapt, align, sources):
        monkeypatch.setattr(module, "RENDERED_VALIDATION", VALIDATION)
    monkeypatch.setattr(pretrain, "VALIDATION", VALIDATION)


@pytest.mark.parametrize("command", TRAIN)
def test_every_recipe_key_is_read(command: str, parts: Parts, tmp_path: Path) -> None:
    folders = {name: parts.folder / name for name in ("glyph", "decoder", "recognizer")}
    recipe = parts.recipe(command, "run.steps=1", *(setting.format(**folders) for setting in ENABLING[command]))
    with recorded() as reads:
        TRAIN[command](recipe, tmp_path / "run")
    assert unread(recipe, reads, RESTING) == []


def test_a_key_that_nothing_reads_is_found(parts: Parts, tmp_path: Path) -> None:
    class Idle(PretrainRecipe):
        idle: int = 0

    settings = [*parts.settings("pretrain"), "run.steps=1"]
    recipe = load_recipe(Idle, None, settings)
    with recorded() as reads:
        pretrain.pretrain(recipe, tmp_path / "run")
    assert unread(recipe, reads, RESTING) == ["idle"]


def test_every_key_of_rendering_into_a_pack_is_read(parts: Parts) -> None:
    from dptr.synth.worker import make_source

    recipe = load_recipe(SynthRecipe, None, [f'render.fonts=["{parts.fonts}"]'])
    with recorded() as reads:
        make_source(resolve_synth(recipe)).sample(0)
    assert unread(recipe, reads, RESTING) == []


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_reads_every_key_of_its_kind(kind: str) -> None:
    config = DecoderConfig.of(kind=kind, dim=16, depth=1, heads=2)
    with recorded() as reads:
        DECODERS[kind](config, 36, 5)
    assert unread(config, reads) == ["kind", "direction"]  # which chose it; the tokenizer reads it


def test_ctc_over_tokens_reads_the_direction_of_lines() -> None:
    config = DecoderConfig.of(kind="ctc", path="tokens", dim=16)
    with recorded() as reads:
        DECODERS["ctc"](config, 36, 5)
        assert config.visual == "rtl"
    assert unread(config, reads) == ["kind", "depth", "heads", "dropout"]  # of the queries' layers


@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if kind != "clip-vision"])
def test_an_image_encoder_reads_every_key_of_its_kind(kind: str) -> None:
    config = EncoderConfig.of(kind=kind)
    with recorded() as reads:
        ENCODERS[kind](config)
    assert unread(config, reads) == ["kind"]


def test_clips_towers_read_every_key_of_theirs(parts: Parts, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = make_tiny_clip(tmp_path / "clip")
    dual = ClipDualConfig(model=str(folder), cache=str(tmp_path / "cache"))
    with recorded() as reads:
        cached = cache_of(load_dual(dual), dual)
    assert cached is not None and unread(dual, reads) == []
    crops = write_crops(tmp_path / "crops", parts.fonts, ["apple", "bread", "candy", "delta"])
    recipe = load_recipe(
        FinetuneRecipe,
        None,
        [
            "run.steps=1", "run.batch_size=2", "run.device=cpu", "run.workers=0", "run.tensorboard=false",
            "model.encoder.kind=clip-vision", f"model.encoder.model={folder}", f'data.train=["{crops}"]',
            "data.validation_share=0.5", "model.decoder.dim=16", "model.decoder.depth=1",
        ],
    )  # fmt: skip
    with recorded() as reads:
        finetune.finetune(recipe, tmp_path / "run")
    encoder = ClipVisionConfig(model=str(folder), tower=tower_settings(str(folder)))
    assert unread(encoder, reads) == []


def largest(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """The leaf keys of a recipe, each part of the kind that has most; without the renderer's."""
    keys: list[str] = []
    for name, field in schema.model_fields.items():
        part = field.annotation
        if prefix + name == "render":
            continue
        if not (isinstance(part, type) and issubclass(part, BaseModel)):
            keys.append(prefix + name)
            continue
        kinds = [part, *part.kinds().values()] if issubclass(part, KindConfig) else [part]
        keys += max((largest(kind, f"{prefix}{name}.") for kind in kinds), key=len)
    return keys


@pytest.mark.parametrize("schema", [AlignRecipe, PretrainRecipe, FinetuneRecipe, AdaptRecipe, SynthRecipe])
def test_no_recipe_has_too_many_keys(schema: type[Config]) -> None:
    assert len(largest(schema)) <= MOST
