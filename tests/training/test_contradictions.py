"""What cannot be is refused in one line before fonts, packs or crops are opened; each checkpoint is opened once."""

from __future__ import annotations

import builtins
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
from helpers_train import Parts

from dptr.config.decoders import DecoderConfig
from dptr.config.model import GlyphDualConfig
from dptr.dual.glyph.model import load_glyph
from dptr.training import adapt, align, finetune, pretrain
from dptr.training.resolve import resolve_adapt, resolve_align, resolve_finetune, resolve_pretrain
from dptr.utils.errors import UserError

RESOLVE = {
    "align": resolve_align, "teach": resolve_align, "pretrain": resolve_pretrain, "finetune": resolve_finetune,
    "adapt": resolve_adapt,
}  # fmt: skip
TRAIN = {
    "align": align.align, "teach": align.align, "pretrain": pretrain.pretrain, "finetune": finetune.finetune,
    "adapt": adapt.adapt,
}  # fmt: skip
WHOLE = ["init.glyph=", "init.decoder=", "init.model={recognizer}"]
FRESH = ["init.glyph=", "init.decoder="]

CASES = [
    ("align", ["run.gradient_accumulation_steps=2"], ["run.gradient_accumulation_steps = 2", "set it to 1"]),
    ("align", ["spell=0", "ctc=0", "cosine=0", "columns=0", "attention=0", "counting=0"], ["nothing would be trained"]),
    ("align", ["init.decoder={decoder}"], ["init.decoder = ", "no decoder without co-training"]),
    ("align", ['glyph.encoder={{kind="clip-vision"}}'], ["glyph.encoder.kind = 'clip-vision'", "vit or svtr"]),
    ("align", ["init.glyph=nowhere"], ["neither a shipped name"]),
    ("teach", ["co_training.decoder.dim=32"], ["co_training.decoder.dim = 32, glyph.dim = 16", "leave"]),
    ("teach", ["init.decoder={decoder}", "glyph.dim=32"], ["16 wide, glyph.dim = 32", "must be equal"]),
    ("teach", ["init.decoder={decoder}", 'glyph.charset="62"'], ["its charset lacks", "glyph.charset"]),
    ("teach", ["init.decoder={decoder}", "glyph.max_length=9"], ["its max_length is 5", "glyph.max_length = 9"]),
    ("pretrain", ["model.decoder.dim=32"], ["decoder width 32", "16", "set model.decoder.dim=16"]),
    ("pretrain", ["model.decoder.heads=3"], ["decoder: ", "3 heads"]),
    ("pretrain", ["model.decoder.kind=parsec"], ["'parsec'", "parseq"]),
    (
        "pretrain",
        ["dual.kind=clip", "dual.model=none", "orp.positions=aligned"],
        ["positions = 'aligned'", "slots"],
    ),
    ("pretrain", ["dual.kind=clip", "dual.model="], ["dual.kind = 'clip'", "set dual.model"]),
    ("pretrain", ["dual.kind=clipp"], ["did you mean 'clip'"]),
    ("pretrain", ["run.gradient_accumulation_steps=5"], ["more parts than run.batch_size = 4", "lower it"]),
    ("finetune", ["init.model={recognizer}"], ["init.model = ", "one or the other"]),
    ("finetune", [*FRESH, "init.model={decoder}"], ["a stage 1 decoder", "pass it as init.decoder"]),
    ("finetune", ["data.train=[]"], ["no labeled crops", "data.rendered=1"]),
    ("finetune", ["data.weights=[1, 2]"], ["data.weights: 2 for 1 data sets"]),
    ("finetune", ["data.validation_share=0"], ["nothing to validate on"]),
    ("finetune", ["data.cache=kept", "model.encoder.max_width=64"], ["crops of one size", "reads 16x32 to 16x64"]),
    (
        "finetune",
        [*FRESH, "counting=1", "model.fmu.count=false"],
        ["counting = 1", "counts no characters", "counting=0"],
    ),
    ("finetune", [*FRESH, "counting=1", "model.fmu.queries=0"], ["counting = 1", "counts no characters"]),
    (
        "finetune",
        ["encoder_lr_scale=0", "fmu_lr_scale=0", "decoder_lr_scale=0"],
        ["are all 0", "nothing would be trained"],
    ),
    (
        "finetune",
        [*WHOLE, "encoder_lr_scale=0", "decoder_lr_scale=0", "model.fmu.queries=0", "model.decoder.dim=128"],
        ["encoder_lr_scale, decoder_lr_scale are all 0"],
    ),
    ("finetune", ["model.fmu.queries=0"], ["encoder width 128, decoder width 16", "fmu.queries > 0"]),
    ("finetune", ["model.fmu.heads=3"], ["fmu: ", "3 heads"]),
    ("finetune", ["model.encoder.width=34"], ["encoder: ", "16x34"]),
    ("finetune", ['model.encoder={{kind="svtrr"}}'], ["encoder.kind = 'svtrr'", "vit, svtr"]),
    ("finetune", ["run.gradient_accumulation_steps=5"], ["more parts than run.batch_size = 4", "lower it"]),
    ("finetune", ["distillation.model={decoder}"], ["stage 1 decoder"]),
    ("finetune", ["distillation.model={recognizer}", 'model.charset="62"'], ["distillation.model", "36 characters"]),
    ("finetune", ["distillation.model={recognizer}", "model.decoder.negatives=8"], ["negatives = 8", "set it to 0"]),
    ("finetune", ["distillation.model={recognizer}", "model.encoder.height=32"], ["its model.encoder.height is 16"]),
    ("adapt", ["text=[]"], ["no words; pass --text"]),
    ("adapt", ["render.preset=mixed"], ["show texts of their own", "render.preset=signs"]),
    ("adapt", ["init.model={decoder}"], ["stage 1 decoder", "fine-tune it first"]),
    ("adapt", ["run.gradient_accumulation_steps=5"], ["more parts than run.batch_size = 4"]),
]


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fonts, packs and crops cannot be opened."""

    def touched(*arguments: object, **named: object) -> None:
        raise AssertionError("opened before the recipe was refused")

    for name in ("find_fonts", "open_pack", "load_crops"):
        monkeypatch.setattr(f"dptr.training.sources.{name}", touched)
    monkeypatch.setattr("dptr.training.resolve.open_labeled", touched)


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(("command", "settings", "named"), CASES)
def test_contradictions_are_refused(
    command: str, settings: list[str], named: list[str], parts: Parts, tmp_path: Path
) -> None:
    folders = {name: parts.folder / name for name in ("decoder", "recognizer", "glyph")}
    recipe = parts.recipe(command, *(setting.format(**folders) for setting in settings))
    for refuse in (RESOLVE[command], lambda recipe: TRAIN[command](recipe, tmp_path / "run")):
        with pytest.raises(UserError) as caught:
            refuse(recipe)
        message = str(caught.value)
        assert all(part in message for part in named) and "\n" not in message, message
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("greedy")
def test_fewer_queries_than_the_decoder_needs(parts: Parts) -> None:
    recipe = parts.recipe("finetune", "init.decoder=", "model.decoder.kind=greedy")
    with pytest.raises(UserError, match=r"fmu\.queries = 6: .*'greedy' needs 9 .*set model\.fmu\.queries=9"):
        resolve_finetune(recipe)


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that needs two memory tokens a character."""
    from dptr.models.decoders import DECODERS
    from dptr.models.decoders.nrtr import NRTR

    def build(config: DecoderConfig, characters: int, max_length: int) -> NRTR:
        decoder = NRTR(characters, max_length, config.dim, config.depth, config.heads)
        decoder.min_memory = lambda max_length: 2 * max_length - 1  # type: ignore[method-assign]
        return decoder

    monkeypatch.setitem(DECODERS, "greedy", build)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each weight file is read, by whatever way."""
    count: Counter[str] = Counter()

    def counting(read):
        def counted(path, *arguments, **named):
            if str(path).endswith("model.safetensors"):
                count[str(Path(path).resolve())] += 1
            return read(path, *arguments, **named)

        return counted

    monkeypatch.setattr(safetensors.torch, "load_file", counting(safetensors.torch.load_file))
    monkeypatch.setattr(Path, "read_bytes", counting(Path.read_bytes))
    monkeypatch.setattr(builtins, "open", counting(builtins.open))
    monkeypatch.setattr(os, "open", counting(os.open))
    yield count


@pytest.mark.parametrize(
    ("command", "settings", "named"),
    [
        ("align", ["init.glyph={glyph}"], {"glyph"}),
        ("teach", ["init.glyph={glyph}", "init.decoder={decoder}"], {"glyph", "decoder"}),
        ("pretrain", [], {"glyph"}),
        ("finetune", [], {"glyph", "decoder"}),
        ("finetune", [*WHOLE, "distillation.model={recognizer}"], {"recognizer"}),
        ("adapt", [], {"recognizer"}),
    ],
)
def test_each_checkpoint_is_read_once(
    command: str, settings: list[str], named: set[str], parts: Parts, tmp_path: Path, opened: Counter[str]
) -> None:
    folders = {name: parts.folder / name for name in ("decoder", "recognizer", "glyph")}
    recipe = parts.recipe(command, "run.steps=1", *(setting.format(**folders) for setting in settings))
    TRAIN[command](recipe, tmp_path / "run")
    begun = {name: opened[str((folder / "model.safetensors").resolve())] for name, folder in folders.items()}
    assert begun == {name: int(name in named) for name in folders}


def test_the_reads_are_counted(parts: Parts, opened: Counter[str]) -> None:
    for _ in range(2):
        load_glyph(GlyphDualConfig(model=str(parts.folder / "glyph")))
    assert list(opened.values()) == [2]


def test_a_start_decoder_brings_its_settings(parts: Parts) -> None:
    """As in stage 2: keys of the recipe stand above them."""
    recipe = parts.recipe("align", "co_training.text=1", f"init.decoder={parts.folder / 'decoder'}")
    decoder = resolve_align(recipe).recipe.co_training.decoder
    assert (decoder.dim, decoder.depth, decoder.heads, decoder.dropout) == (16, 1, 2, 0.1)
    own = parts.recipe(
        "align", "co_training.text=1", f"init.decoder={parts.folder / 'decoder'}", "co_training.decoder.dropout=0.3"
    )
    assert resolve_align(own).recipe.co_training.decoder.dropout == 0.3
