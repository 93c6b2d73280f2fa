"""A batch in parts, activations computed twice, layers compiled: the same step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from helpers_reference import loud
from helpers_train import STEPS, Parts, records
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dptr.config.model import Config, DecoderConfig, ModelConfig, ViTConfig
from dptr.config.train import OptimConfig, RunConfig
from dptr.models.decoders import DECODERS
from dptr.models.layers import Layer
from dptr.models.recognizer import Recognizer, build_recognizer
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer
from dptr.training.device import make_accelerator
from dptr.training.finetune import FinetuneObjective, FinetuneTask, finetune
from dptr.training.pretrain import pretrain
from dptr.training.trainer import Trainer, step_generator
from dptr.utils.errors import UserError
from dptr.utils.tensors import load_tensors

TOKENIZER = Tokenizer(Charset("abc", ("a", "b", "c")), 5)
WORDS = ["abc", "c", "bbaca", "ab", "ca", "cabb", "a"]


class Recipe(Config):
    run: RunConfig = RunConfig()
    optim: OptimConfig = OptimConfig(lr=0.1, warmup=0.0, grad_clip=1e6)


def build(kind: str = "parseq", dropout: float = 0.0) -> Recognizer:
    config = ModelConfig(
        encoder=ViTConfig(size="tiny", height=16, width=32),
        decoder=DecoderConfig.of(kind=kind, dim=16, heads=2, dropout=dropout),
        max_length=5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return loud(build_recognizer(config, 3), scale=0.05)  # type: ignore[return-value]


def batch() -> dict[str, Tensor]:
    pixels = torch.rand(len(WORDS), 3, 16, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"pixels": pixels, "targets": torch.from_numpy(TOKENIZER.encode(WORDS))}


class CropsTask(FinetuneTask):
    """The objective of ``dptr finetune``, without its data."""

    def __init__(self, model: Recognizer) -> None:
        self.model, self.objective, self.parts = model, FinetuneObjective(model, TOKENIZER, None), [(model, 1.0)]


def gradients(
    out: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "parseq", dropout: float = 0.0, **settings: object
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one step, as the optimizer sees them."""
    model = build(kind, dropout)
    recipe = Recipe(run=RunConfig(steps=1, batch_size=7, device="cpu", precision="no", tensorboard=False, **settings))
    accelerator = make_accelerator(recipe.run)
    run = Trainer(out, recipe, recipe.run, recipe.optim, accelerator, CropsTask(model))
    monkeypatch.setattr(run.optimizer, "zero_grad", lambda: None)
    with step_generator(0, 0) as generator:
        value, _ = run.train_step(batch(), WORDS, generator)
    return value, {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_same(
    found: tuple[float, dict[str, Tensor]], expected: tuple[float, dict[str, Tensor]], error: float
) -> None:
    assert found[0] == pytest.approx(expected[0], rel=error)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert (found[1][name] - gradient).norm() <= error * gradient.norm(), name


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(DECODERS.keys() - {"mdiff"}))  # its loss is no mean over terms (contract)
def test_parts_make_the_gradient_of_the_whole(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of unlike numbers of words and letters; to rounding."""
    whole = gradients(tmp_path / "1", monkeypatch, kind)
    assert all(gradient.norm() > 0 for gradient in whole[1].values())
    for count in (2, 7):
        assert_same(gradients(tmp_path / str(count), monkeypatch, kind, gradient_accumulation_steps=count), whole, 1e-5)


def test_dropout_draws_other_masks_for_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gradients(tmp_path / "1", monkeypatch, dropout=0.3)
    assert gradients(tmp_path / "2", monkeypatch, dropout=0.3, gradient_accumulation_steps=2)[0] != pytest.approx(
        whole[0], rel=1e-4
    )


def test_more_parts_than_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=r"run\.gradient_accumulation_steps = 8: 7 samples .* lower it, or raise run\.batch_size"
    ):
        gradients(tmp_path, monkeypatch, gradient_accumulation_steps=8)


def test_both_stages_take_parts_and_the_losses_stay(parts: Parts, tmp_path: Path) -> None:
    plain = ("model.decoder.dropout=0", "run.steps=4")
    vit = ('init.glyph=""', 'model.encoder={kind="vit", size="tiny", height=16, width=32}', "data.rendered=0")
    for train, command, more in ((pretrain, "pretrain", ()), (finetune, "finetune", vit)):
        logged = []
        for count in (1, 3):
            out = tmp_path / f"{command}-{count}"
            train(parts.recipe(command, *plain, *more, f"run.gradient_accumulation_steps={count}"), out)
            logged.append([record["loss"] for record in records(out) if "loss" in record])
        assert len(set(logged[0])) == 4
        assert logged[1] == pytest.approx(logged[0], rel=1e-4)


def test_alignment_refuses_parts(parts: Parts, tmp_path: Path) -> None:
    from dptr.training.align import align

    with pytest.raises(
        UserError, match=r"run\.gradient_accumulation_steps = 2: this command takes batches whole; set it to 1"
    ):
        align(parts.recipe("align", "run.gradient_accumulation_steps=2"), tmp_path)


# --- recomputing ------------------------------------------------------------------------------------------------------


class Counted(TorchDispatchMode):
    """Counts matrix products."""

    products = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.products += function in (torch.ops.aten.addmm.default, torch.ops.aten.mm.default)
        return function(*arguments, **(named or {}))


@contextmanager
def saved() -> Iterator[list[int]]:
    """Bytes that autograd keeps of activations."""
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(0 if isinstance(tensor, nn.Parameter) else tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


@pytest.mark.parametrize("kind", ["parseq", "nrtr"])
def test_recomputing_changes_no_gradient(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a bit, and with dropout; but more is computed and less kept."""
    found = []
    for setting in (False, True):
        with Counted() as counted:
            got = gradients(tmp_path / str(setting), monkeypatch, kind, 0.3, activation_checkpointing=setting)
        found.append((counted.products, got))
    assert found[1][0] > 1.2 * found[0][0]
    assert_same(found[1][1], found[0][1], 0.0)


def test_recomputing_keeps_less() -> None:
    sizes = []
    for setting in (False, True):
        model = build()
        for layer in model.modules():
            if isinstance(layer, Layer):
                layer.recompute = setting
        with saved() as kept:
            model.loss(**batch(), generator=torch.Generator().manual_seed(0))
        sizes.append(sum(kept))
    assert sizes[1] < 0.35 * sizes[0]


# --- compiling --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_layers_train_resume_and_keep_their_names(parts: Parts, tmp_path: Path) -> None:
    """In processes of their own: the compiler would trace the checks of shapes that tests add."""

    def train(name: str, *settings: str) -> list[float]:
        arguments = parts.arguments("pretrain", tmp_path / name, "model.decoder.dropout=0", *settings)
        command = [sys.executable, "-m", "dptr", *arguments]
        for again in ([], ["--resume"]):  # the second finds all done, and its state fits
            done = subprocess.run([*command, *again], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        return [record["loss"] for record in records(tmp_path / name) if "loss" in record]

    plain, compiled = train("plain"), train("compiled", "run.compile=true")
    assert len(plain) == STEPS and compiled == pytest.approx(plain, rel=1e-3) and compiled != plain
    for file in ("model/model.safetensors", f"state/step-{STEPS:09d}/tensors.safetensors"):
        tensors = [load_tensors(tmp_path / name / file, "tensors") for name in ("plain", "compiled")]
        assert tensors[0].keys() == tensors[1].keys()
