"""Keys that had another name: one line tells the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dptr.config.load import RENAMED, _keys, load_recipe
from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe
from dptr.utils.errors import UserError

SCHEMAS = (AlignRecipe, PretrainRecipe, FinetuneRecipe, AdaptRecipe)
CASES = [
    (schema, old, new)
    for schema in SCHEMAS
    for old, new in RENAMED.items()
    if new in _keys(schema) and old not in _keys(schema) and new not in ("co_training", "distillation")
]


def messages(schema: type, override: str) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(schema, None, [override])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("schema", "old", "new"), CASES)
def test_an_old_name_tells_the_new_one(schema: type, old: str, new: str) -> None:
    assert messages(schema, f"{old}=1") == f"--set: unknown key '{old}'; it is now '{new}'"


def test_every_new_name_is_a_key_of_some_recipe() -> None:
    assert set(RENAMED.values()) <= {key for schema in SCHEMAS for key in _keys(schema)}
    assert {old for _, old, _ in CASES} | {"teach", "distil"} == set(RENAMED)


@pytest.mark.parametrize(
    ("schema", "override", "line"),
    [
        (AlignRecipe, "teach.text=1", "unknown key 'teach.text'; it is now 'co_training.text'"),
        (AlignRecipe, "teach.decoder.depth=1", "it is now 'co_training.decoder.depth'"),
        (FinetuneRecipe, "distil.weight=1", "it is now 'distillation.weight'"),
        (
            PretrainRecipe,
            "run.workers=0",
            "key 'run.workers'; this command reads no such setting: leave it out",
        ),
        (PretrainRecipe, "model.fmu.heads=4", "unknown key 'model.fmu.heads'; this command reads no such setting"),
        (PretrainRecipe, "model.encoder.size=nano", "unknown key 'model.encoder.size'; this command reads no such"),
        (AdaptRecipe, "words.sources=[]", "unknown key 'words.sources'; this command reads no such setting"),
        (PretrainRecipe, "start=x", "unknown key 'start'"),
    ],
)
def test_sections_and_keys_that_are_gone(schema: type, override: str, line: str) -> None:
    assert line in messages(schema, override)


def test_a_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text('model = "dptr-en"\n[run]\nbatch = 4\n')
    with pytest.raises(UserError) as caught:
        load_recipe(AdaptRecipe, path)
    assert str(caught.value) == f"{path}: unknown key 'model'; it is now 'init.model'"
