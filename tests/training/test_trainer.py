from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from helpers_train import Parts as TrainingParts
from torch import Tensor, nn

from dptr.config.model import Config, ModelConfig
from dptr.config.train import CropRunConfig, OptimConfig, RunConfig
from dptr.dual.glyph.model import build_glyph
from dptr.evaluation.accuracy import Team
from dptr.models.recognizer import build_recognizer
from dptr.training import align, finetune, pretrain
from dptr.training.device import make_accelerator
from dptr.training.ema import averaged_weights
from dptr.training.logger import Log
from dptr.training.optimization import Losses, Optimization
from dptr.training.optimizer import Parts, make_optimizer, one_cycle
from dptr.training.state import Progress, check_out
from dptr.training.task import Scores, Share, Task, Validation
from dptr.training.trainer import Trainer, step_generator
from dptr.utils.errors import UserError
from dptr.utils.files import lock_folder, read_json, write_json
from dptr.utils.outputs import PARTIAL
from dptr.utils.tensors import load_tensors


class TinyRecipe(Config):
    run: CropRunConfig = CropRunConfig(
        steps=8, batch_size=4, device="cpu", precision="no", save_every=2, tensorboard=False
    )
    optim: OptimConfig = OptimConfig(lr=0.05, warmup=0.25, grad_clip=1.0, ema_decay=0.9)


class Net(nn.Module):
    """A convolution laid out channels last, batch norm, dropout, a matrix; and a parameter that no loss reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(4, 2)
        self.unused = nn.Parameter(torch.zeros(3))

    def forward(self, pixels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = self.dropout(self.norm(self.conv(pixels)).relu()).mean((2, 3))
        return {"loss": self.head(x).square().sum()}


class TinyTask(Task):
    """``Net`` on noise; a validation's score is what ``scores`` says of its step."""

    unit = "crops"

    def __init__(self, net: nn.Module, parts: Parts | None = None, scores: Sequence[float] = ()) -> None:
        self.objective, self.parts = net, parts or [(net, 1.0)]
        self.scores, self.saved = scores, list[int]()

    def batches(self, first: int, last: int, share: Share) -> Generator[int, None, None]:
        yield from range(first, last)

    def tensors(
        self, batch: int, step: int, generator: torch.Generator, share: Share
    ) -> tuple[dict[str, Tensor], list[str]]:
        return {"pixels": torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(step))}, ["word"]

    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        yield Validation({"score": self.scores[step] if self.scores else 0.0}, "judged")

    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        return not best or scores["score"] > best["score"]

    def save(self, validation: Validation, step: int, out: Path) -> None:
        self.saved.append(step)


def start(out: Path, recipe: TinyRecipe | None = None, task: TinyTask | None = None) -> Trainer:
    recipe = recipe or TinyRecipe()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
    accelerator = make_accelerator(recipe.run)
    return Trainer(out, recipe, recipe.run, recipe.optim, accelerator, task or TinyTask(net))


def step(trainer: Trainer) -> float:
    number = trainer.progress.step
    with step_generator(0, number) as generator:
        tensors, words = trainer.task.tensors(number, number, generator, Share())
        return trainer.train_step(tensors, words, generator)[0]


# --- schedule and optimizer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "warmup"), [(100, 0.075), (2000, 0.3), (20, 0.075), (10, 0.0), (7, 0.5), (13, 0.99), (3, 0.1), (1, 0.0)]
)
def test_one_cycle_is_torchs(steps: int, warmup: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.7, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    for number in range(steps):
        assert 0.7 * one_cycle(number, steps, warmup) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12, abs=0)
        optimizer.step()
        if number < steps - 1:
            theirs.step()


def test_one_cycle_where_torchs_divides_by_zero() -> None:
    assert [one_cycle(number, 10, 0.1) for number in (0, 9)] == pytest.approx([1.0, 4e-6])


def build_loaded() -> list[tuple[str, list[tuple[nn.Module, float]]]]:
    model = build_recognizer(ModelConfig(), 94)
    assert model.fmu is not None
    glyph, _ = build_glyph(align.AlignRecipe().glyph)
    vit = build_recognizer(ModelConfig.model_validate({"encoder": {"kind": "vit", "size": "tiny"}}), 94)
    return [
        ("recognizer", [(model.encoder, 0.5), (model.decoder, 2.0), (model.fmu, 1.0)]),
        ("glyph", [(glyph, 1.0)]),
        ("vit", [(vit, 1.0)]),
    ]


@pytest.mark.parametrize(("name", "parts"), build_loaded(), ids=lambda value: value if isinstance(value, str) else "")
def test_decay_groups_cover_every_parameter_exactly_once(name: str, parts: list[tuple[nn.Module, float]]) -> None:
    optimizer = make_optimizer(parts, OptimConfig(lr=0.1, weight_decay=0.5))
    factors = {group["factor"] for group in optimizer.param_groups}
    assert factors == {factor for _, factor in parts}
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for module, _ in parts for parameter in module.parameters())
    before = {id(p): p.detach().clone() for module, _ in parts for p in module.parameters()}
    for module, _ in parts:
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # without a gradient, decay is all there is
    decayed = 0
    for module, _ in parts:
        for full, parameter in module.named_parameters():
            owner = module.get_submodule(full.rpartition(".")[0])
            is_matrix = parameter.ndim in (2, 4) and not isinstance(owner, nn.Embedding)
            shrunk = before[id(parameter)] * ((1 - 0.1 * 0.5) if is_matrix else 1.0)
            torch.testing.assert_close(parameter.detach(), shrunk, msg=full)
            decayed += is_matrix
    assert decayed > 10


def test_the_learning_rate_follows_the_schedule_and_the_parts(tmp_path: Path) -> None:
    net = Net()
    recipe = TinyRecipe()
    parts: list[tuple[nn.Module, float]] = [
        (nn.ModuleList([net.conv, net.norm]), 0.5), (nn.ModuleList([net.head]), 3.0)
    ]  # fmt: skip
    run = start(tmp_path, recipe, TinyTask(net, parts))
    for number in range(8):
        step(run)
        for group in run.optimizer.param_groups:
            assert group["lr"] == pytest.approx(0.05 * group["factor"] * one_cycle(number, 8, 0.25))


def test_a_run_may_follow_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second a step: the cycle spans the seconds, the run ends with them, and a resumed one has what was left."""
    now = [100.0]
    monkeypatch.setattr("dptr.training.trainer.time.monotonic", lambda: now[0])
    recipe = changed(run__steps=1000, run__seconds=10.0, run__save_every=4, run__validate_every=500)

    class Clocked(TinyTask):
        limit = 6

        def tensors(
            self, batch: int, step: int, generator: torch.Generator, share: Share
        ) -> tuple[dict[str, Tensor], list[str]]:
            now[0] += 1.0
            if self.limit == len(rates):
                raise UserError("no more")
            return super().tensors(batch, step, generator, share)

    rates: list[float] = []
    real = Optimization.step

    def step(run: Optimization, *rest: Any) -> Losses:
        losses = real(run, *rest)
        rates.append(run.optimizer.param_groups[0]["lr"])
        return losses

    monkeypatch.setattr(Optimization, "step", step)
    with pytest.raises(UserError, match="no more"):
        start(tmp_path, recipe, Clocked(Net())).run()
    assert rates == pytest.approx([0.05 * one_cycle(100_000 * second, 1_000_000, 0.25) for second in range(1, 7)])
    now[0] += 3600.0
    rates.clear()
    task = Clocked(Net())
    task.limit = 50
    trainer = start(tmp_path, recipe, task)
    assert (trainer.progress.step, trainer.progress.seconds) == (4, 4.0)
    trainer.run()
    assert rates == pytest.approx([0.05 * one_cycle(100_000 * second, 1_000_000, 0.25) for second in range(5, 11)])
    assert trainer.progress.step == 10 and (tmp_path / "state" / "step-000000010").is_dir()
    rates.clear()
    start(tmp_path, recipe, Clocked(Net())).run()
    assert not rates, "a run whose time is over takes no step more"


def test_modules_may_be_clipped_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    task = TinyTask(net)
    task.clipped_apart = [nn.ModuleList([net.conv, net.norm]), net.head]
    run = start(tmp_path, changed(optim__grad_clip=0.01), task)
    norms: list[float] = []

    def note(*arguments: Any) -> None:
        for part in task.clipped_apart:
            found = [p.grad for p in part.parameters() if p.grad is not None]
            norms.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in found)))

    monkeypatch.setattr(run.optimizer, "step", note)
    run.train_step({"pixels": 1000 * torch.randn(4, 3, 5, 6)}, [], torch.Generator())
    assert norms == [pytest.approx(0.01, rel=1e-3)] * 2


def test_gradients_are_clipped(tmp_path: Path) -> None:
    run = start(tmp_path)
    norms = []
    real = run.optimizer.step

    def note(*arguments: Any) -> None:
        found = [p.grad for p in run.module.parameters() if p.grad is not None]
        norms.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in found)))
        real(*arguments)

    run.optimizer.step = note  # type: ignore[method-assign]
    run.train_step({"pixels": 1000 * torch.randn(4, 3, 5, 6)}, [], torch.Generator())
    assert norms == [pytest.approx(1.0, rel=1e-4)]
    assert all(p.grad is None or not p.grad.any() for p in run.module.parameters())


# --- randomness -------------------------------------------------------------------------------------------------------


def test_a_step_draws_the_same_each_time_and_nothing_outside_is_touched() -> None:
    dropout = nn.Dropout(0.5)

    def drawn(seed: int, number: int) -> tuple[Tensor, Tensor]:
        with step_generator(seed, number) as generator:
            return dropout(torch.ones(100)), torch.rand(10, generator=generator)

    outside = torch.get_rng_state()
    first, again = drawn(3, 7), drawn(3, 7)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in ((3, 8), (4, 7), (7, 3)):
        assert not any(torch.equal(a, b) for a, b in zip(first, drawn(*other), strict=True))
    with pytest.raises(ZeroDivisionError), step_generator(1, 1):
        torch.rand(1)
        _ = 1 / 0
    assert torch.equal(torch.get_rng_state(), outside)


# --- EMA --------------------------------------------------------------------------------------------------------------


def test_ema_is_what_the_hand_computes(tmp_path: Path) -> None:
    run = start(tmp_path, TinyRecipe(optim=TinyRecipe().optim.model_copy(update={"ema_decay": 0.3})))
    assert run.ema is not None
    expected = {name: tensor.clone().double() for name, tensor in run.module.state_dict().items()}
    for number, keep in enumerate((2 / 11, 3 / 12, 0.3, 0.3), start=1):  # min(0.3, (1 + t) / (10 + t))
        step(run)
        assert keep == pytest.approx(min(0.3, (1 + number) / (10 + number)))
        for name, tensor in run.module.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = keep * expected[name] + (1 - keep) * tensor.double()
            else:
                expected[name] = tensor.double()
    assert "norm.running_var" in expected and "norm.num_batches_tracked" in expected
    for name, tensor in run.ema.items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-7)
    assert not torch.equal(run.ema["head.weight"], run.module.state_dict()["head.weight"])


@pytest.mark.parametrize("fails", [False, True])
def test_averaged_swaps_weights_in_and_out(tmp_path: Path, fails: bool) -> None:
    run = start(tmp_path)
    for _ in range(3):
        step(run)
    own = {name: tensor.clone() for name, tensor in run.module.state_dict().items()}
    assert run.ema is not None
    try:
        with averaged_weights(run.module, run.ema):
            assert not run.module.training and not torch.is_grad_enabled()
            assert all(torch.equal(tensor, run.ema[name]) for name, tensor in run.module.state_dict().items())
            if fails:
                raise UserError("no")
    except UserError:
        assert fails
    assert run.module.training and torch.is_grad_enabled()
    assert all(torch.equal(tensor, own[name]) for name, tensor in run.module.state_dict().items())


# --- validation -------------------------------------------------------------------------------------------------------


def test_the_best_state_is_saved_and_patience_ends_the_run(tmp_path: Path, capsys) -> None:
    """Validations after steps 2, 4, 6, 8, ...: the second is best; two more bring nothing better."""
    recipe = changed(run__steps=20, run__validate_every=2, run__save_every=50)
    task = TinyTask(Net(), scores=[0, 0, 1, 0, 3, 0, 2, 0, 3, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9])
    task.patience = 2
    trainer = start(tmp_path, recipe, task)
    trainer.run()
    assert task.saved == [2, 4]
    assert trainer.progress.best == {"": {"score": 3}} and trainer.progress.baseline == {"": {"score": 1}}
    assert "step 8: nothing better since 2 validations: done" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-000000008"]
    again = start(tmp_path, recipe, task)
    again.run()
    assert again.progress.step == 8, "patience is remembered"


def test_several_models_have_a_best_state_each(tmp_path: Path) -> None:
    class Two(TinyTask):
        def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
            yield Validation({"score": float(step)}, "grows", model="a")
            yield Validation({"score": -float(step)}, "shrinks", model="b", variant="_b")

    trainer = start(tmp_path, changed(run__steps=3, run__validate_every=1), Two(Net()))
    trainer.run()
    assert trainer.progress.best == {"a": {"score": 3}, "b": {"score": -1}}
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"step": 2, "validation_score_b": -2.0} in rows


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ({}, Progress(1, 0.0, {}, {}, 3)),
        ({"read": 0.5}, Progress(1, 0.0, {"": {"read": 0.5}}, {"": {"read": 0.5}}, 3)),
        (
            {"domain": 0.9, "others": 0.6, "before": 0.7},
            Progress(1, 0.0, {"": {"domain": 0.9, "others": 0.6}}, {"": {"domain": 0.9, "others": 0.7}}, 3),
        ),
    ],
)
def test_a_state_of_an_older_version_goes_on(best: dict[str, float], expected: Progress, tmp_path: Path) -> None:
    saved_run(tmp_path)
    path = tmp_path / "state" / "step-000000001" / "state.json"
    write_json(path, {"step": 1, "best": best, "waited": 3, "scaler": {}})
    assert start(tmp_path).progress == expected


# --- NaN guard --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only_the_gradient", [False, True])
def test_what_is_not_finite_stops_the_run_and_leaves_the_batch(tmp_path: Path, only_the_gradient: bool) -> None:
    run = start(tmp_path)
    step(run)
    before = [parameter.detach().clone() for parameter in run.module.parameters()]
    pixels = torch.randn(4, 3, 5, 6)
    if only_the_gradient:
        slope = (run.module.head.weight.sum() * 0).sqrt()  # 0, with an infinite slope
        run.optimization.prepared.forward = lambda pixels, generator: {"loss": slope}  # type: ignore[method-assign]
    else:
        pixels[2, 1, 0, 0] = math.nan
    path = tmp_path / "nan-step-1.safetensors"
    what = r"loss is 0, its gradient's norm (nan|inf)" if only_the_gradient else "loss is nan"
    with pytest.raises(UserError, match=rf"^{what} in step 1; the batch is saved as {path}; .*optim.lr"):
        run.train_step({"pixels": pixels}, ["añb", "c"], torch.Generator())
    torch.testing.assert_close(load_tensors(path, "batch")["pixels"], pixels, equal_nan=True)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["words"]) == ["añb", "c"]
    assert all(torch.equal(old, new) for old, new in zip(before, run.module.parameters(), strict=True))
    assert run.progress.step == 1


# --- the folder of a run ----------------------------------------------------------------------------------------------


def saved_run(out: Path, recipe: TinyRecipe | None = None) -> Trainer:
    run = start(out, recipe)
    step(run)
    run.save()
    run.writer.wait()
    return run


def changed(**changes: Any) -> TinyRecipe:
    recipe = TinyRecipe().model_dump()
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        recipe[section][leaf] = value
    return TinyRecipe.model_validate(recipe)


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    check_out(tmp_path / "new", TinyRecipe(), resume=False)
    check_out(tmp_path / "new", TinyRecipe(), resume=True)
    assert not (tmp_path / "new").exists()
    saved_run(tmp_path)
    with pytest.raises(UserError, match=f"^{tmp_path} already holds a run; pass --resume"):
        check_out(tmp_path, TinyRecipe(), resume=False)
    check_out(tmp_path, TinyRecipe(), resume=True)


def test_a_changed_recipe_is_named_key_by_key(tmp_path: Path) -> None:
    saved_run(tmp_path)
    with pytest.raises(UserError) as caught:
        check_out(tmp_path, changed(optim__lr=0.1, run__seed=4, run__workers=3), resume=True)
    assert str(caught.value) == (
        f"{tmp_path}: optim.lr was 0.05 and is now 0.1, run.seed was 0 and is now 4; "
        "a resumed run keeps its recipe; pass the same settings, or another --out"
    )
    many = {f"optim__{key}": 0.5 for key in ("lr", "weight_decay", "beta2", "warmup", "grad_clip", "ema_decay")}
    with pytest.raises(UserError, match=r"optim\.lr was 0\.05 and is now 0\.5, .* and 1 more;"):
        check_out(tmp_path, changed(**many), resume=True)


def test_a_setting_that_came_later_counts_as_its_default(tmp_path: Path) -> None:
    saved_run(tmp_path)
    check_out(tmp_path, ModelRecipe(), resume=True)
    other = ModelRecipe(model=ModelConfig(charset="36"))
    with pytest.raises(UserError, match=r'model\.charset was "94" and is now "36"'):
        check_out(tmp_path, other, resume=True)
    write_json(tmp_path / "recipe.json", other.model_dump(mode="json"))
    with pytest.raises(UserError, match=r'model\.charset was "36" and is now null'):
        check_out(tmp_path, TinyRecipe(), resume=True)


def test_a_run_of_before_goes_on(tmp_path: Path) -> None:
    """Its recipe has old names, and keys of all kinds of encoders and decoders."""
    saved_run(tmp_path)
    then = ModelRecipe().model_dump(mode="json")
    then["run"]["batch"] = then["run"].pop("batch_size")
    then["optim"]["clip"] = then["optim"].pop("grad_clip")
    then["model"]["decoder"] |= {"iterations": 3, "noisings": 3, "steps": 3}
    then["model"]["encoder"] |= {"model": "", "frozen": False, "tower": None, "widest": 0}
    write_json(tmp_path / "recipe.json", then)
    check_out(tmp_path, ModelRecipe(), resume=True)


@pytest.mark.parametrize(
    ("part", "kind", "key"), [("encoder", "ppocr", "stretch"), ("encoder", "svtr", "sizes"), ("decoder", "ctc", "path")]
)
def test_a_setting_of_one_kind_that_came_later_counts_as_its_default(
    part: str, kind: str, key: str, tmp_path: Path
) -> None:
    saved_run(tmp_path)
    recipe = ModelRecipe(model=ModelConfig.model_validate({part: {"kind": kind}}))
    then = recipe.model_dump(mode="json")
    del then["model"][part][key]
    write_json(tmp_path / "recipe.json", then)
    check_out(tmp_path, recipe, resume=True)


class ModelRecipe(TinyRecipe):
    model: ModelConfig = ModelConfig()


def test_what_does_not_change_the_result_may_change(tmp_path: Path) -> None:
    saved_run(tmp_path)
    free = changed(
        run__workers=2, run__log_every=3, run__save_every=4, run__validate_every=5, run__tensorboard=True,
        run__device="auto",
    )  # fmt: skip
    check_out(tmp_path, free, resume=True)
    assert start(tmp_path, free).progress.step == 1
    assert read_json(tmp_path / "recipe.json", "recipe")["run"]["log_every"] == 3


def test_a_run_that_saved_nothing_may_start_anew_with_other_settings(tmp_path: Path) -> None:
    start(tmp_path).log.write(1, {"loss": 1.0})
    check_out(tmp_path, changed(optim__lr=0.1), resume=False)
    start(tmp_path, changed(optim__lr=0.1)).log.write(0, {"loss": 2.0})
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 0, "loss": 2.0}\n'


def test_folders_and_files_of_others_are_left_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "model" / "config.json", {})
    for resume in (False, True):
        with pytest.raises(UserError, match=f"^{tmp_path}: not empty .model. and no training run that dptr made"):
            check_out(tmp_path, TinyRecipe(), resume)
    with pytest.raises(UserError, match=r"config\.json: a file; pass the name of a folder"):
        check_out(tmp_path / "model" / "config.json", TinyRecipe(), False)
    write_json(tmp_path / "recipe.json", TinyRecipe().model_dump(mode="json"))  # a run, with a model of another kind
    with pytest.raises(UserError, match=r"/model: not empty .config\.json. and no model that dptr made"):
        check_out(tmp_path, TinyRecipe(), resume=True)


def test_what_a_user_adds_to_a_run_stays(tmp_path: Path) -> None:
    """Notes, a copy of a state under another name, what looks like an interrupted writer's."""
    run = start(tmp_path)
    for _ in range(2):
        step(run)
    run.save()
    run.writer.wait()
    mine = (
        "notes.txt", ".partial-download", "state/step-best/state.json", "state/step-000000002/notes.txt",
        "state/notes.txt",
    )  # fmt: skip
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    check_out(tmp_path, TinyRecipe(), resume=True)
    run = start(tmp_path)
    assert run.progress.step == 2
    step(run)
    run.save()
    run.writer.wait()
    assert [(tmp_path / name).read_text() for name in mine] == ["mine"] * len(mine)
    assert [path.name for path in (tmp_path / "state" / "step-000000002").iterdir()] == ["notes.txt"]
    assert start(tmp_path).progress.step == 3


def test_no_batch_takes_the_place_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "nan-step-0.safetensors").write_text("mine")
    with pytest.raises(UserError, match=r"saved as .*nan-step-0-2\.safetensors"):
        start(tmp_path).train_step({"pixels": torch.full((4, 3, 5, 6), math.nan)}, ["a", "b"], torch.Generator())
    assert (tmp_path / "nan-step-0.safetensors").read_text() == "mine"


# --- log --------------------------------------------------------------------------------------------------------------


def test_truncate_drops_what_comes_after_and_what_is_cut(tmp_path: Path) -> None:
    log = Log(tmp_path, False, True, "words")
    log.truncate(3)  # nothing there yet
    for number in (0, 1, 2, 2, 3, 4):
        log.write(number, {"loss": number / 2, "name": "é\u2028"})
    with open(log.path, "ab") as file:
        file.write('{"step": 2, "name": "é'.encode()[:-1])
    log.truncate(2)
    assert [json.loads(line)["step"] for line in log.path.read_text().split("\n")[:-1]] == [0, 1, 2, 2]
    log.write(3, {})
    assert log.path.read_text().endswith('\n{"step": 3}\n')
    log.truncate(0)  # a fresh start: also what an earlier attempt wrote about step 0
    assert log.path.read_text() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_while_logging(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match=f"^cannot write {tmp_path}/log.jsonl: No space left on device; free space, "):
        Log(tmp_path, False, True, "words").write(1, {"loss": 1.0})


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    log = Log(tmp_path / "out", True, False, "words")
    log.begin(0)
    log.write(1, {"loss": 1.0})
    log.close()
    assert not (tmp_path / "out").exists()


def test_tensorboard_shows_each_record_once_whatever_was_interrupted(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for begin, end in ((0, 4), (0, 9), (6, 8), (7, 12)):  # killed, started anew, killed, resumed, killed, resumed
        log = Log(tmp_path, True, True, "words")
        log.begin(begin)
        for number in range(begin + 1 if begin else 0, end + 1):
            log.write(number, {"loss": 100 * begin + number, "note": "text"})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (line["step"], line["loss"]) for line in lines
    ]
    assert [line["loss"] for line in lines] == [*range(7), 607, *range(708, 713)]
    assert events.Tags()["scalars"] == ["loss"]


def test_a_folder_that_another_run_trains_in_is_refused(tmp_path: Path) -> None:
    aside = tmp_path / f"{PARTIAL}0badcafe-model"
    with lock_folder(tmp_path), pytest.raises(UserError, match="another run writes in it; wait for its end, or pass"):
        aside.mkdir()
        check_out(tmp_path, TinyRecipe(), resume=True)
    assert aside.exists()  # the other run's
    check_out(tmp_path, TinyRecipe(), resume=True)
    assert not aside.exists()
    with lock_folder(tmp_path, alone=False), lock_folder(tmp_path, alone=False):  # processes of one run look at once
        pass


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from dptr.utils.files import lock_folder\n"
        "with lock_folder(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"\n"
        with pytest.raises(UserError, match="another run"), lock_folder(tmp_path):
            pass
        other.kill()
    with lock_folder(tmp_path):
        pass


def test_without_tensorboard_the_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    log = Log(tmp_path, True, True, "words")
    log.begin(0)
    log.write(1, {"loss": 1.0})
    assert "TensorBoard is not installed" in capsys.readouterr().err
    assert log.path.read_text() == '{"step": 1, "loss": 1.0}\n'


# --- saved state ------------------------------------------------------------------------------------------------------


def test_a_restored_run_is_the_run(tmp_path: Path) -> None:
    run = start(tmp_path)
    for _ in range(3):
        step(run)
    run.progress.best = {"": {"word_accuracy": 0.1 + 0.2}}
    run.progress.baseline = {"": {"word_accuracy": 0.1}}
    run.save()
    run.writer.wait()
    other = start(tmp_path)
    assert other.progress == run.progress and other.progress.step == 3
    assert all(torch.equal(tensor, run.module.state_dict()[name]) for name, tensor in other.module.state_dict().items())
    assert run.ema is not None and other.ema is not None and run.ema.keys() == other.ema.keys()
    assert all(torch.equal(tensor, run.ema[name]) for name, tensor in other.ema.items())
    ours, theirs = ({id(p): n for n, p in r.module.named_parameters()} for r in (run, other))
    states = [
        {names[id(parameter)]: slots for parameter, slots in r.optimizer.state.items() if slots}
        for r, names in ((run, ours), (other, theirs))
    ]
    assert states[0].keys() == states[1].keys() == {n for n, _ in run.module.named_parameters()} - {"unused"}
    for name, slots in states[0].items():
        assert slots.keys() == states[1][name].keys() == {"step", "exp_avg", "exp_avg_sq"}
        for slot, tensor in slots.items():
            assert torch.equal(tensor, states[1][name][slot]), (name, slot)
            assert tensor.stride() == states[1][name][slot].stride(), (name, slot)
            assert tensor.dtype == states[1][name][slot].dtype
    assert [step(run) for _ in range(5)] == [step(other) for _ in range(5)]


def test_one_state_is_kept_and_leftovers_go(tmp_path: Path) -> None:
    run = start(tmp_path)
    for _ in range(8):
        step(run)
        run.end_step()
    run.writer.wait()
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-000000008"]
    (tmp_path / "state" / ".partial-0badcafe-step-000000009").mkdir()
    (tmp_path / "state" / "step-000000004").mkdir()  # its deletion was interrupted
    (tmp_path / ".partial-0badcafe-recipe.json").touch()
    check_out(tmp_path, TinyRecipe(), resume=True)
    run = start(tmp_path)
    assert run.progress.step == 8
    run.progress.step = 9
    run.save()
    run.writer.wait()
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-000000009"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.json", "state"]


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    saved_run(tmp_path)
    path = tmp_path / "state" / "step-000000001" / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=f"training state {path}: not a whole safetensors file"):
        start(tmp_path)


# --- device, precision, processes -------------------------------------------------------------------------------------


def test_precision_may_differ_between_runs_of_one_process() -> None:
    for precision in ("no", "bf16", "no"):
        accelerator = make_accelerator(RunConfig(device="cpu", precision=precision))
        assert accelerator.mixed_precision == precision
        assert accelerator.device.type == "cpu"


def test_precision_that_the_device_lacks() -> None:
    with pytest.raises(UserError, match=r"^run\.precision = 'fp16': not to be had on cpu; set run\.precision="):
        make_accelerator(RunConfig(device="cpu", precision="fp16"))


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "no")])
def test_auto_is_bf16_where_the_cpu_has_it(has: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    assert make_accelerator(RunConfig(device="cpu")).mixed_precision == precision


def test_emulated_bf16_is_warned_of(
    parts: TrainingParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    pretrain.pretrain(parts.recipe("pretrain", "run.precision=bf16", "run.steps=1"), tmp_path)
    said = capsys.readouterr().err
    assert "device cpu, precision bf16" in said
    assert "set run.precision=auto" in said


def test_bf16_trains(parts: TrainingParts, tmp_path: Path) -> None:
    pretrain.pretrain(parts.recipe("pretrain", "run.precision=bf16", "run.steps=2"), tmp_path)
    assert (tmp_path / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("command", ["align", "pretrain", "finetune"])
def test_two_processes_share_each_batch(command: str, parts: TrainingParts, tmp_path: Path, monkeypatch) -> None:
    """Together they train on what one process would train on, and only the first writes."""
    train = {"align": align.align, "pretrain": pretrain.pretrain, "finetune": finetune.finetune}[command]
    seen: dict[str, list[list[str]]] = {}

    def run_as(rank: int, processes: int) -> None:
        class Ranked(accelerate.Accelerator):
            process_index = property(lambda self: rank)  # type: ignore[assignment]
            num_processes = property(lambda self: processes)  # type: ignore[assignment]
            is_main_process = property(lambda self: rank == 0)  # type: ignore[assignment]

        words = seen.setdefault(f"{rank} of {processes}", [])
        with monkeypatch.context() as patch:
            patch.setattr(accelerate, "Accelerator", Ranked)
            patch.setattr(finetune, "Team", lambda *_: Team())  # the other process is not there to read its share
            real = Trainer.train_step

            def learn(run: Trainer, tensors: dict[str, Tensor], some: list[str], generator: torch.Generator) -> Any:
                words.append(some)
                return real(run, tensors, some, generator)

            patch.setattr(Trainer, "train_step", learn)
            train(parts.recipe(command, "run.steps=3", "run.batch_size=6"), tmp_path / f"{rank} of {processes}")

    for rank, processes in ((0, 1), (0, 2), (1, 2)):
        run_as(rank, processes)
    assert [len(words) for words in seen["0 of 1"]] == [6, 6, 6]
    for whole, *halves in zip(seen["0 of 1"], seen["0 of 2"], seen["1 of 2"], strict=True):
        assert [len(half) for half in halves] == [3, 3]
        assert sorted(halves[0] + halves[1]) == sorted(whole)
    assert (tmp_path / "0 of 2" / "model").is_dir()
    assert not (tmp_path / "1 of 2").exists()
