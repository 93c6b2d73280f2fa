"""Steps by epochs: each sample as often as asked for, the same run after an interruption, no run on other data."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers_train import Parts, contents

from dptr.config.load import load_recipe
from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe, RunConfig
from dptr.data.lmdb import write_lmdb
from dptr.training.epochs import count_steps
from dptr.training.finetune import FinetuneTask, finetune
from dptr.training.finetune_defaults import finetune_defaults
from dptr.training.pretrain import PretrainTask, pretrain
from dptr.training.resolve import resolve_adapt, resolve_align, resolve_finetune, resolve_pretrain
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError
from dptr.utils.files import read_json

LABELS = ["tea", "oak", "ash", "elm", "tea", "fir", "yew", "box", "bay", "fig", "nut"]
Seen = list[list[str]]


def write_labels(folder: Path, labels: list[str]) -> Path:
    write_lmdb(folder, ((b"no picture is read", label) for label in labels))
    return folder


def recipe_of(parts: Parts, command: str, *more: str) -> Any:
    """``Parts.recipe`` without its number of steps."""
    schema = {"pretrain": PretrainRecipe, "finetune": FinetuneRecipe}[command]
    settings = [setting for setting in parts.settings(command) if not setting.startswith("run.steps=")]
    return load_recipe(schema, None, [*settings, *more])


def of_labels(parts: Parts, labels: Path, *more: str) -> PretrainRecipe:
    sources = f"corpus.sources=[{{kind='labels', path={json.dumps(str(labels))}}}]"
    settings = [sources, "corpus.heldout=0", "corpus.replacement=false", "bucket=1", "run.save_every=2"]
    settings += [] if any("run.epochs" in one for one in more) else ["run.epochs=3"]
    return recipe_of(parts, "pretrain", *settings, *more)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The words of each step of the trainings that follow."""
    found: Seen = []
    for task in (PretrainTask, FinetuneTask):

        def tensors(self: Any, *arguments: Any, real: Any = task.tensors) -> Any:
            result = real(self, *arguments)
            found.append(result[1])
            return result

        monkeypatch.setattr(task, "tensors", tensors)
    return found


def crash_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Trainer.end_step

    def end_step(run: Trainer) -> bool:
        done = real(run)
        if run.progress.step == step:
            raise InterruptedError
        return done

    monkeypatch.setattr(Trainer, "end_step", end_step)


@pytest.mark.parametrize(
    ("epochs", "samples", "batch", "steps"),
    [(20, 3_224_143, 768, 83_963), (1, 768, 768, 1), (1, 769, 768, 2), (0.5, 10, 4, 2), (0.01, 5, 100, 1)],
)
def test_the_last_batch_is_filled(epochs: float, samples: int, batch: int, steps: int, tmp_path: Path) -> None:
    run, lines = count_steps(RunConfig(epochs=epochs, batch_size=batch), samples, tmp_path)
    assert run.steps == steps and f"{steps:,} steps" in lines[0]
    assert (run.steps - 1) * batch < epochs * samples <= run.steps * batch


def test_without_epochs_nothing_changes(tmp_path: Path) -> None:
    run = RunConfig(steps=7)
    assert count_steps(run, 1000, tmp_path) == (run, [])


def test_stage_1_uses_each_label_once_an_epoch(
    parts: Parts, tmp_path: Path, seen: Seen, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_labels(tmp_path / "real" / "a", LABELS)
    pretrain(of_labels(parts, labels.parent), tmp_path / "run")
    words = [word for batch in seen for word in batch]
    size = len(seen[0])
    assert read_json(tmp_path / "run" / "recipe.json", "recipe")["run"]["steps"] == len(seen) == -(-33 // size)
    assert all(Counter(words[start : start + 11]) == Counter(LABELS) for start in (0, 11, 22))
    assert "3 epochs of 11 samples: 9 steps of 4" in capsys.readouterr().err


def test_stage_1_uses_each_label_once_an_epoch_where_batches_are_sorted(
    parts: Parts, tmp_path: Path, seen: Seen
) -> None:
    pretrain(of_labels(parts, write_labels(tmp_path / "a", LABELS), "bucket=16"), tmp_path / "run")
    uses, wanted = Counter(word for batch in seen for word in batch), Counter(3 * LABELS)
    assert uses >= wanted and uses.total() == 4 * len(seen) == 36


def test_stage_1_goes_on_with_the_same_labels(
    parts: Parts, tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = of_labels(parts, write_labels(tmp_path / "a", LABELS))
    pretrain(recipe, tmp_path / "whole" / "run")
    whole = seen[:]
    seen.clear()
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        crash_after(3, patch)  # the state is of step 2
        pretrain(recipe, tmp_path / "cut" / "run")
    pretrain(recipe, tmp_path / "cut" / "run", resume=True)
    assert seen == whole[:3] + whole[2:]
    assert contents(tmp_path / "cut" / "run") == contents(tmp_path / "whole" / "run")


def test_a_run_does_not_go_on_with_other_data(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = of_labels(parts, tmp_path / "real")
    write_labels(tmp_path / "real" / "a", LABELS)
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        crash_after(2, patch)
        pretrain(recipe, tmp_path / "run")
    write_labels(tmp_path / "real" / "b", LABELS)
    with pytest.raises(UserError, match=r"3 epochs were 9 steps and are 17 now: the data have changed"):
        pretrain(recipe, tmp_path / "run", resume=True)
    with pytest.raises(UserError, match=r"run.epochs was 3.0 and is now 4.0"):
        pretrain(of_labels(parts, tmp_path / "real", "run.epochs=4"), tmp_path / "run", resume=True)


@pytest.mark.parametrize(("rendered", "bucket"), [(0, 1), (0.5, 1), (0, 1000)])
def test_stage_2_uses_each_crop_once_an_epoch(
    rendered: float, bucket: int, parts: Parts, tmp_path: Path, seen: Seen, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["run.epochs=2", f"data.rendered={rendered}", "data.augment=0", "corpus.sources=[{kind='pattern'}]"]
    recipe = recipe_of(parts, "finetune", *settings, f"data.bucket={bucket}")
    finetune(recipe, tmp_path / "run")
    (found,) = re.findall(r"(\d+) crops for training", capsys.readouterr().err)
    crops = int(found)
    size = len(seen[0])
    assert len(seen) == -(-int(2 * crops / (1 - rendered)) // size)
    own = set((parts.folder / "words.txt").read_text().split())
    uses = Counter(word for batch in seen for word in batch if word in own)
    assert sum(uses.values()) in range(2 * crops, 2 * crops + size)
    assert min(uses.values()) == 2


def test_what_has_no_end_has_no_epochs(parts: Parts, tmp_path: Path) -> None:
    one = {"run": {"epochs": 2}}
    all_rendered = FinetuneRecipe.model_validate({**one, "data": {"rendered": 1}})
    refused = {
        "rendered words have no end": lambda: resolve_align(AlignRecipe.model_validate(one)),
        "mixed by shares": lambda: resolve_adapt(AdaptRecipe.model_validate(one)),
        "without labeled crops": lambda: resolve_finetune(all_rendered),
        "corpus.replacement=false": lambda: resolve_pretrain(PretrainRecipe.model_validate(one)),
    }
    for part, function in refused.items():
        with pytest.raises(UserError, match=part) as caught:
            function()
        assert "run.steps in place of run.epochs" in str(caught.value)


def test_steps_and_epochs_exclude_each_other() -> None:
    with pytest.raises(UserError, match="epochs = 2 and steps = 50: set one"):
        load_recipe(FinetuneRecipe, None, ["run.steps=50", "run.epochs=2"])
    assert load_recipe(FinetuneRecipe, None, ["run.steps=50", "run.epochs=0"]).run.steps == 50
    recipe, lines = finetune_defaults(["run.epochs=2"])
    assert recipe.run.epochs == 2 and "for 2 epochs;" in lines[0]
