"""No training writes into a folder of a user's; what a user adds to a run's folder stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers_train import STEPS, Parts, records

from dptr.cli.app import run
from dptr.utils.files import list_files, read_json, write_json

COMMANDS = "adapt", "align", "finetune", "pretrain"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "name", ["thesis.txt", "log.jsonl", "model/config.json", "recipe.json", "state/step-000000001/a"]
)
def test_a_folder_of_a_user_stays(command: str, name: str, parts: Parts, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    for more in ([], ["--resume"]):
        assert run([*parts.arguments(command, out), *more]) == 2
        assert "and no training run that dptr made; pass another folder" in capsys.readouterr().err
    assert list_files(out) == [name] and (out / name).read_text() == "mine"


def test_a_run_goes_on_and_what_lies_beside_it_stays(parts: Parts, tmp_path: Path) -> None:
    """Its export goes with the model that it was made of, and is not read in place of the next."""
    out = tmp_path / "out"
    arguments = parts.arguments("pretrain", out)
    assert run(parts.arguments("pretrain", out, "run.steps=3")) == 0
    recipe = read_json(out / "recipe.json", "recipe")
    recipe["run"]["steps"] = STEPS  # as if interrupted
    write_json(out / "recipe.json", recipe)
    mine = (
        "notes.txt",
        ".partial-download",
        "model/README.md",
        "model/mine/a.txt",
        "state/best/state.json",
        "state/step-best/a",
    )
    for name in mine:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    (out / "model" / "model.onnx").write_bytes(b"\x08\x08\x12\x04dptr")
    assert run([*arguments, "--resume"]) == 0
    assert [record["step"] for record in records(out)][-1] == STEPS
    assert [(out / name).read_text() for name in mine] == ["mine"] * len(mine)
    assert sorted(list_files(out / "model")) == [
        "README.md", "card.json", "config.json", "mine/a.txt", "model.safetensors",
    ]  # fmt: skip
    assert sorted(path.name for path in (out / "state").iterdir()) == ["best", f"step-{STEPS:09d}", "step-best"]


def test_an_input_in_the_folder_of_a_run_stays(parts: Parts, tmp_path: Path) -> None:
    """Word lists and crops that a run reads, put into its folder: by name, and by a link."""
    out = tmp_path / "out"
    assert run(parts.arguments("pretrain", out, "run.steps=1")) == 0
    shutil.copy(parts.folder / "words.txt", out / "words.txt")
    shutil.copytree(parts.folder / "crops", out / "crops")
    before = {name: (out / name).read_bytes() for name in list_files(out) if name.startswith(("words", "crops"))}
    (tmp_path / "link").symlink_to(out)
    words = f'corpus.sources=[{{kind="file", path="{out / "words.txt"}"}}]'
    for folder in (out, tmp_path / "link", out / "crops", out / "crops" / ".."):
        for command in ("pretrain", "finetune"):
            assert run([*parts.arguments(command, folder, words), "--resume"]) == 2
    assert {name: (out / name).read_bytes() for name in before} == before
