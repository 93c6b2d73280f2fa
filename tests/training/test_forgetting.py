"""What further training forgets: measured on other crops, bounded, told; and interpolated weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from helpers_train import Parts, records
from torch import nn

from dptr.config.size import CropSize
from dptr.data.crops import load_crops
from dptr.evaluation.calibration import Calibration
from dptr.models.checkpoint import load_recognizer
from dptr.text.charset import resolve_charset
from dptr.training.finetune import finetune
from dptr.training.forgetting import FRACTIONS, describe_forgetting, find_losses, load_others, sweep_interpolations
from dptr.training.resolve import resolve_finetune
from dptr.utils.files import read_json


def test_of_states_that_lose_little_the_best_is_kept_and_the_loss_is_told(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = parts.folder / "crops"
    # validation and others; once at step 0, then for each way of a step
    planted = [
        [(0.3, 0.80)],
        [(0.9, 0.70), (0.6, 0.77), (0.5, 0.79), (0.4, 0.80)],
        [(0.7, 0.78), (0.8, 0.81), (0.4, 0.80), (0.3, 0.80)],
    ]
    series = iter([score for step in planted for way in step for score in way])
    monkeypatch.setattr("dptr.training.finetune.calibrate", lambda *_: Calibration(1.0))
    monkeypatch.setattr("dptr.training.finetune.score_crops", lambda *_: {"word_accuracy": next(series)})
    recipe = parts.recipe(
        "finetune", f'forgetting.sets=["{crops}"]', "run.steps=2", "run.validate_every=1", "run.save_every=100"
    )
    finetune(recipe, tmp_path / "run")
    (result,) = read_json(tmp_path / "run" / "model" / "card.json", "card")["results"]
    name = f"{crops.parent.name}/crops"
    assert (result["step"], result["way"], result["word_accuracy"], result[f"others_{name}"]) == (2, 0.75, 0.8, 0.81)
    printed = capsys.readouterr().err
    assert f"step 1: reads 90.0% of 4 validation crops, 70.0% of {name}; not kept: {name} lost more than " in printed
    assert printed.count("not kept") == 2, "0.80 - 0.02 is just enough"
    assert f"other crops, % read before -> after: {name} 80.0 -> 81.0" in printed
    logged = [row for row in records(tmp_path / "run") if "validation_word_accuracy_0.75" in row]
    assert [row[f"validation_others_{name}_0.75"] for row in logged] == [0.77, 0.81]
    assert "model-unlimited reads 90.0% of your validation crops" in printed and "loses 10.0 of" in printed
    assert "of the start" not in printed


def test_a_state_that_forgot_too_much_is_kept_beside(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    series = iter([score for pair in [(0.3, 0.8), *[(0.9, 0.7)] * len(FRACTIONS)] for score in pair])
    monkeypatch.setattr("dptr.training.finetune.calibrate", lambda *_: Calibration(1.0))
    monkeypatch.setattr("dptr.training.finetune.score_crops", lambda *_: {"word_accuracy": next(series)})
    recipe = parts.recipe("finetune", f'forgetting.sets=["{parts.folder / "crops"}"]', "run.steps=1")
    finetune(recipe, tmp_path / "run")
    printed, name = capsys.readouterr().err, f"{parts.folder.name}/crops"
    run = tmp_path / "run"
    assert f"no later state was better than step 0, so {run}/model has the weights of the start" in printed
    assert f"{run}/model-unlimited reads 90.0% of your validation crops where {run}/model reads 30.0%, and " in printed
    assert f"loses 10.0 of {name} (points): take it if other crops do not matter" in printed
    results = [
        read_json(tmp_path / "run" / folder / "card.json", "card")["results"] for folder in ("model", "model-unlimited")
    ]
    assert [(one["step"], one["word_accuracy"], one[f"others_{name}"]) for (one,) in results] == [
        (0, 0.3, 0.8),
        (1, 0.9, 0.7),
    ]


@pytest.mark.parametrize("file_of_a_user", [False, True])
def test_where_a_later_state_forgets_little_nothing_is_kept_beside(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    file_of_a_user: bool,
) -> None:  # fmt: skip
    """The first way forgets too much and is kept beside, the next reads more and forgets little."""
    notes = tmp_path / "run" / "model-unlimited" / "notes.txt"
    ways = [(0.5, 0.7), (0.9, 0.8), *[(0.4, 0.8)] * (len(FRACTIONS) - 2)]
    series = iter([score for pair in [(0.3, 0.8), *ways] for score in pair])
    monkeypatch.setattr("dptr.training.finetune.calibrate", lambda *_: Calibration(1.0))

    def score(*_: object) -> dict[str, float]:
        if file_of_a_user and notes.parent.exists():
            notes.write_text("mine")
        return {"word_accuracy": next(series)}

    monkeypatch.setattr("dptr.training.finetune.score_crops", score)
    finetune(parts.recipe("finetune", f'forgetting.sets=["{parts.folder / "crops"}"]', "run.steps=1"), tmp_path / "run")
    assert list(notes.parent.glob("*")) == ([notes] if file_of_a_user else [])
    assert notes.parent.exists() == file_of_a_user and "unlimited" not in capsys.readouterr().err


def test_a_kept_state_holds_the_weights_of_its_way(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dptr.training.finetune.calibrate", lambda *_: Calibration(1.0))
    models = {}
    for way, place in (("last", 2), ("half", 6)):
        scores = iter([0.9 if number == place else 0.1 for number in range(2 * (1 + len(FRACTIONS)))])
        monkeypatch.setattr(
            "dptr.training.finetune.score_crops", lambda *_, scores=scores: {"word_accuracy": next(scores)}
        )
        recipe = parts.recipe(
            "finetune", f'forgetting.sets=["{parts.folder / "crops"}"]', "forgetting.max_loss=1", "run.steps=1",
            "run.validate_every=1", "optim.ema_decay=0",
        )  # fmt: skip
        models[way] = load_recognizer(finetune(recipe, tmp_path / way)).model.state_dict()
    monkeypatch.setattr("dptr.training.finetune.score_crops", lambda *_: {"word_accuracy": 0.5})
    recipe = parts.recipe("finetune", "run.steps=1", "run.validate_every=1", "optim.ema_decay=0")
    first = load_recognizer(finetune(recipe, tmp_path / "first")).model.state_dict()  # step 0: nothing was better
    moved = [name for name, tensor in first.items() if not torch.equal(tensor, models["last"][name])]
    assert moved
    for name in moved:
        if first[name].is_floating_point():
            torch.testing.assert_close(models["half"][name], (first[name] + models["last"][name]) / 2)


def test_rendered_kinds_are_held_out_words_and_say_where_they_cannot_be(parts: Parts) -> None:
    recipe = resolve_finetune(parts.recipe("finetune", "forgetting.rendered=3", "model.max_length=25")).recipe
    others, messages = load_others(recipe, resolve_charset("36"))
    assert set(others) <= {"words", "receipts", "displays", "plates", "markers"} and "words" in others
    assert all(len(crops) == 3 and all(crops.labels) for crops in others.values())
    left_out = {"words", "receipts", "displays", "plates", "markers"} - set(others)
    assert all(any(f"rendered {name} is not measured" in line for line in messages) for name in left_out)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["data.rendered=0.5"], True),
        (["data.rendered=0.5", "render.font_split=train"], False),
        (["data.rendered=0.0"], False),
    ],
    ids=str,
)
def test_it_is_told_where_training_draws_the_fonts_of_rendered_kinds(
    parts: Parts, settings: list[str], told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dptr.training.forgetting.RENDERED", {"words": ""})
    drawn = load_crops([parts.folder / "crops"], resolve_charset("36"), 25, CropSize(height=16, width=32))
    monkeypatch.setattr("dptr.training.forgetting.held_out_words", lambda *_: None)
    monkeypatch.setattr("dptr.training.forgetting.draw", lambda *_: drawn)
    recipe = resolve_finetune(
        parts.recipe("finetune", "forgetting.rendered=3", "model.max_length=25", *settings)
    ).recipe
    (line,) = load_others(recipe, resolve_charset("36"))[1]
    assert ("rendered ones in fonts that are trained with" in line) == told


def test_each_set_has_a_name_of_its_own(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three end alike, one of them twice, and one is called as a rendered kind is."""
    monkeypatch.chdir(tmp_path)
    crops, paths = parts.folder / "crops", ("a/x/crops", "b/x/crops", "words", "b/x/crops", "c/x/crops")
    for path in set(paths):
        shutil.copytree(crops, path)
    listed = ", ".join(f'"{path}"' for path in paths)
    recipe = parts.recipe("finetune", f"forgetting.sets=[{listed}]", "forgetting.rendered=3", "model.max_length=25")
    others, _ = load_others(resolve_finetune(recipe).recipe, resolve_charset("36"))
    names = ["x/crops", "b/x/crops", "words (2)", "b/x/crops (2)", "c/x/crops"]
    assert [*others][:5] == names and len(others["words"]) == 3
    assert all(len(others[name]) > 3 for name in names)


def test_lost_and_told() -> None:
    before = {"a": 0.5, "b": 0.5, "c": 0.5}
    assert find_losses({"a": 0.48, "b": 0.479, "c": 0.6, "new": 0.0}, before, 0.02) == ["b"]
    assert describe_forgetting({"a": 0.5}, {"a": 0.25, "new": 1.0}).endswith(": a 50.0 -> 25.0")


def test_weights_in_between_are_put_back() -> None:
    module = nn.Linear(2, 1, bias=False)
    first, last = {"weight": torch.zeros(1, 2)}, module.weight.detach().clone()
    for way in sweep_interpolations(module, first):
        torch.testing.assert_close(module.weight.detach(), last * way)
    assert torch.equal(module.weight, last) and FRACTIONS[0] == 1
