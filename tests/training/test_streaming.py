"""Trainings on shards: interrupted anywhere, they go on as if nothing had been; and what they refuse."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_shards import png, write_shards
from helpers_train import WORDS, Parts, Warm, contents, records

from dptr.config.load import load_recipe
from dptr.config.train import FinetuneRecipe
from dptr.data.labeled import open_labeled
from dptr.text.charset import resolve_charset
from dptr.training.finetune import finetune
from dptr.training.pretrain import pretrain
from dptr.training.sources import load_finetune_crops
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError

STEPS = 20
TRAIN = {"finetune": finetune, "pretrain": pretrain}


@pytest.fixture(scope="module")
def shards(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The crops of ``parts`` twice, as Parquet and as archives; and words."""
    folder = tmp_path_factory.mktemp("shards")
    held = open_labeled(parts.folder / "crops")
    labels, pictures = ([each(index) for index in range(len(held))] for each in (held.label, held.image_bytes))
    return {
        "crops": write_shards(folder / "crops", "parquet", labels, pictures, files=2),
        "more": write_shards(folder / "more", "tar", labels, pictures, files=2),
        "words": write_shards(folder / "words", "parquet", [*WORDS, *(f"word{number}" for number in range(10))]),
    }


def settings(command: str, shards: dict[str, Path]) -> list[str]:
    words = f'corpus.sources=[{{kind="shards", path="{shards["words"]}"}}]'
    crops = [f'data.train=["{shards["crops"]}", "{shards["more"]}"]', "data.weights=[2, 1]", "data.window=8"]
    return [f"run.steps={STEPS}", words, *(crops if command == "finetune" else ["corpus.replacement=false"])]


class Crash(Exception):
    pass


@pytest.mark.parametrize("command", TRAIN)
def test_crashed_after_many_a_step_it_is_the_same_run(
    command: str, parts: Parts, shards: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = parts.recipe(command, *settings(command, shards), "run.save_every=2")
    whole, out = tmp_path / "whole" / "run", tmp_path / "crashed" / "run"  # the name stands in the card
    TRAIN[command](recipe, whole)
    moments = sorted(random.Random(command).sample(range(1, STEPS), 3))
    real = Trainer.end_step

    for moment in moments:

        def end_step(run: Trainer, moment: int = moment) -> Any:
            if run.progress.step == moment:
                raise Crash
            return real(run)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "end_step", end_step)
            with pytest.raises(Crash):
                TRAIN[command](recipe, out, resume=True)
    TRAIN[command](recipe, out, resume=True)
    assert records(out) == records(whole)
    assert contents(out) == contents(whole)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("command", TRAIN)
def test_killed_at_20_moments_it_is_the_same_run(
    command: str, parts: Parts, shards: dict[str, Path], warm: Warm, tmp_path: Path
) -> None:
    cache = f"{'data' if command == 'finetune' else 'corpus'}.cache={tmp_path / 'cache'}"
    sets = [*settings(command, shards), cache]
    begun = time.monotonic()
    whole = tmp_path / "whole" / "run"
    code, _, said = warm.run(*parts.arguments(command, whole, *sets))
    assert code == 0, said
    seconds, moments, done, run = time.monotonic() - begun, random.Random(command), 0, 0
    while done < 20:
        run += 1
        out = tmp_path / f"{run}" / "run"
        arguments = [*parts.arguments(command, out, *sets), "--resume"]
        while done < 20:
            process = warm.start(*arguments)
            time.sleep(moments.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
            code, _, said = warm.end()
            assert code in (0, -signal.SIGKILL), said
            if code == 0:
                break
            done += 1
        code, _, said = warm.run(*arguments)
        assert code == 0, said
        assert records(out) == records(whole)
        assert contents(out) == contents(whole)


def recipe(*more: str) -> FinetuneRecipe:
    model = ['model.charset="36"', 'model.encoder={kind="svtr", size="nano", height=16, width=32}']
    return load_recipe(FinetuneRecipe, None, [*model, "data.rendered=0", *more])


def test_sets_in_memory_and_streams_are_one_epoch(tmp_path: Path) -> None:
    labels, pictures = [f"w{n}" for n in range(60)], [png(n) for n in range(60)]
    streamed = write_shards(tmp_path / "streamed", "parquet", labels, pictures)
    others = write_shards(tmp_path / "others", "tar", [f"v{n}" for n in range(30)], [png(n) for n in range(100, 130)])
    validation = write_shards(tmp_path / "val", "parquet", labels[:9], pictures[:9], files=1)
    paths = f'data.train=["{streamed}", "{others}"]'
    found = load_finetune_crops(recipe(paths, f'data.validation=["{validation}"]'), resolve_charset("36"))
    assert found.epoch == 90 and len(found.validation) == 9
    assert {found.source.word(index) for index in range(90)} == {*labels, *(f"v{n}" for n in range(30))}
    assert any("60 of" in line and "streamed" in line for line in found.notes)
    held = load_finetune_crops(recipe(paths, "data.validation_share=0.3"), resolve_charset("36"))
    assert held.epoch + len(held.validation) == 90
    assert not set(held.validation.labels) & {held.source.word(index) for index in range(int(held.epoch))}
    assert held.digest.count("(") == 2


def test_settings_that_shards_do_not_go_with_are_refused(tmp_path: Path) -> None:
    labels, pictures = [f"w{n}" for n in range(20)], [png(n) for n in range(20)]
    folder = write_shards(tmp_path / "root" / "set", "parquet", labels, pictures)
    for more, said in (
        ([f'data.train=["{folder}"]', "data.max_crops=5"], "data.max_crops = 5 with .*shards are trained on whole"),
        ([f'data.train=["{folder}"]', "data.validation_split=order"], "shards hold out by picture"),
        ([f'data.train=["{tmp_path / "root"}"]'], r"holds shards in .*set; name that folder in data.train"),
        ([f'data.train=["{folder}"]', "data.validation_share=0.0001"], "none of these crops is held out; raise it"),
    ):
        with pytest.raises(UserError, match=said):
            load_finetune_crops(recipe(*more), resolve_charset("36"))
