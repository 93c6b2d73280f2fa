"""Crops of one's own, without a recipe."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from helpers_train import Parts, records, write_crops

from dptr.cli.app import run
from dptr.config.train import FinetuneRecipe
from dptr.models.checkpoint import open_checkpoint
from dptr.training.finetune import finetune
from dptr.training.finetune_defaults import finetune_defaults

WORDS = [f"{a}{b}&" for a in "abcd" for b in "efgh"]


@pytest.fixture
def recipes(monkeypatch) -> list[FinetuneRecipe]:
    """What ``dptr finetune`` is started with."""
    started: list[FinetuneRecipe] = []
    monkeypatch.setattr("dptr.training.finetune.finetune", lambda recipe, out, resume: started.append(recipe))
    return started


@pytest.mark.parametrize(
    ("options", "model", "grow"),
    [
        ([], "dptr-latin", 3),
        (["--set", "data.rendered=0.2"], "dptr-latin", 3),
        (["--model", "runs/other"], "runs/other", 3),
        (["--set", "init.model=runs/other"], "runs/other", 3),
        (["--set", 'init={model="runs/other"}'], "runs/other", 3),
        (["--set", "init.decoder=runs/decoder"], "", 0),
        (["--set", "init.encoder=rapidocr"], "", 0),
        (["--set", 'init={glyph="runs/glyph"}'], "", 0),
        (["--set", "model.decoder.kind=nrtr"], "", 0),
        (["--set", "model.decoder.direction=ltr"], "dptr-latin", 3),
        (["--model", "runs/other", "--set", "model.encoder.max_width=320"], "runs/other", 3),
        (["--config", "CONFIG"], "", 0),
        (["--config", "CONFIG", "--model", "runs/other"], "runs/other", 0),
    ],
)
def test_without_a_recipe_or_a_part_the_shipped_model_goes_on(options, model, grow, recipes, tmp_path, parts):
    (tmp_path / "some.toml").write_text("[run]\nsteps = 3\n")
    options = [str(tmp_path / "some.toml") if option == "CONFIG" else option for option in options]
    place = ["--set", f'render.fonts=["{parts.fonts}"]']
    assert run(["finetune", "--data", "crops", "--out", str(tmp_path / "out"), *options, *place]) == 0
    assert (recipes[0].init.model, recipes[0].data.extend_charset) == (model, grow)
    assert recipes[0].data.train == ("crops",)


def test_rendered_words_are_mixed_in_on_a_system_without_fonts(parts: Parts, tmp_path: Path, capsys):
    """In the embedded fonts, and the log says so; the tests' system has none (``tests/conftest.py``)."""
    crops = write_crops(tmp_path / "crops", parts.fonts, WORDS)
    start = finetune(parts.recipe("finetune", "run.steps=1"), tmp_path / "start")
    options = ["run.steps=1", "run.batch_size=4", "run.validate_every=1", "forgetting.rendered=20"]
    options = [each for option in options for each in ("--set", option)]
    assert run(["finetune", "--data", str(crops), "--model", str(start), "--out", str(tmp_path / "run"), *options]) == 0
    messages = capsys.readouterr().err
    assert "no fonts on this system: the 20 embedded ones are used; scripts/fonts.sh installs more" in messages
    assert "50% of each batch rendered" in messages


def test_a_recognizer_learns_crops_of_ones_own(parts: Parts, tmp_path: Path, capsys):
    """From the command line, with a character that it did not know; it starts where the model was, and ends early."""
    crops = write_crops(tmp_path / "crops", parts.fonts, WORDS)
    start = finetune(parts.recipe("finetune", "run.steps=1"), tmp_path / "start")
    options = ["--set", "run.steps=3", "--set", "run.batch_size=4", "--set", "run.validate_every=1", "--set",
               "patience=1", "--set", "forgetting.rendered=20", "--set", f'render.fonts=["{parts.fonts}"]']  # fmt: skip
    out = tmp_path / "run"
    assert run(["finetune", "--data", str(crops), "--model", str(start), "--out", str(out), *options]) == 0
    messages = capsys.readouterr()
    assert (
        messages.out == f"{out / 'model'}\n"
        and "fresh characters: &" in messages.err
        and "step 0: reads" in messages.err
    )
    assert records(out)[0]["step"] == 0
    before, after = open_checkpoint(start).charset, open_checkpoint(out / "model").charset
    assert after.characters == (*before.characters, "&")


def test_a_model_with_the_large_encoder_learns_in_small_steps() -> None:
    settings = {model: finetune_defaults([f"init.model={model}"])[0] for model in ("dptr-latin", "dptr-en", "glyph-en")}
    found = {model: (each.run.steps, each.optim.lr, each.encoder_lr_scale) for model, each in settings.items()}
    assert found == {"dptr-latin": (300, 1e-3, 0.1), "dptr-en": (500, 5e-4, 1), "glyph-en": (500, 5e-4, 1)}
    recipe, _ = finetune_defaults(["init.model=dptr-latin", "optim.lr=3e-4", "run.steps=7"])
    assert (recipe.run.steps, recipe.optim.lr) == (7, 3e-4)


def test_what_ends_a_training_is_told() -> None:
    told = [finetune_defaults(["init.model=dptr-en", *each])[1][0] for each in ([], ["run.seconds=90"])]
    assert "for 500 steps;" in told[0] and "for 90 seconds, 500 steps at most;" in told[1]


def test_words_of_the_model_are_offered(tmp_path: Path) -> None:
    """They are of its language; the default is English."""
    sources = [{"kind": "file", "path": "kalmomi'.txt"}, {"kind": "pattern", "path": ""}]
    (tmp_path / "card.json").write_text(json.dumps({"recipe": {"corpus": {"sources": sources}}}))
    model = f"init.model={json.dumps(str(tmp_path))}"
    (told,) = finetune_defaults([model])[1][1:]
    setting = shlex.split(told.partition("--set ")[2])[0]
    assert "kalmomi'.txt" in told
    recipe, notes = finetune_defaults([model, setting])
    assert [each.path for each in recipe.corpus.sources] == ["kalmomi'.txt", ""] and len(notes) == 1
    for card in ("{}", '{"recipe": {"corpus": {"sources": [1, {"kind": "file"}]}}}'):
        (tmp_path / "card.json").write_text(card)
        assert len(finetune_defaults([model])[1]) == 1
    assert len(finetune_defaults(["init.model=dptr-latin"])[1]) == 1
