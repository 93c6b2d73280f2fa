"""What the documents say is what the project does: commands, recipes, versions, files."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import torch
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dptr.cli.app import app
from dptr.config.load import load_recipe
from dptr.config.model import Config
from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe, SynthRecipe
from dptr.models.recognizer import build_decoder, build_encoder, build_recognizer
from dptr.text.charset import resolve_charset

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
SCHEMAS: dict[str, type[Config]] = {
    "adapt": AdaptRecipe,
    "align": AlignRecipe,
    "pretrain": PretrainRecipe,
    "finetune": FinetuneRecipe,
    "synth": SynthRecipe,
}
COMMANDS = vars(typer.main.get_command(app))["commands"]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code(document: Path) -> list[str]:
    """Lines of a document's fenced blocks, those that end in a backslash joined; or of a recipe's comments."""
    text = document.read_text(encoding="utf-8")
    if document.suffix == ".md":
        text = "\n".join(re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    else:
        text = "\n".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
        text = re.sub(r"^.*?(?=\bdptr [a-z]+ --)", "", text, flags=re.MULTILINE)
    return [line.strip().removeprefix("$ ") for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines()]


def commands(document: Path) -> list[list[str]]:
    """The ``dptr`` command lines that a document shows, as words."""
    lines = [line.removeprefix(".venv/bin/") for line in code(document)]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("dptr ")]


@pytest.mark.parametrize("document", [*DOCUMENTS, *RECIPES], ids=name)
def test_commands_shown_are_commands_that_exist(document: Path) -> None:
    for words in commands(document):
        assert words[0] in COMMANDS, words
        parsed = COMMANDS[words[0]].make_context(words[0], words[1:]).params  # fails on unknown options
        if words[0] in SCHEMAS:
            recipe = ROOT / parsed["config"] if parsed["config"] else None
            if recipe is None or recipe.parent == ROOT / "recipes":
                load_recipe(SCHEMAS[words[0]], recipe, parsed["overrides"])


def test_the_readme_shows_commands() -> None:
    shown = {words[0] for words in commands(ROOT / "README.md")}
    assert {"read", "eval", "align", "pretrain", "finetune"} <= shown


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_make_targets_shown_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = re.findall(r"(?:`|^|&& )make ([a-z]+)", document.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(shown) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        assert "://" in link or (document.parent / link).exists(), link


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_recipes_load_and_their_parts_fit(path: Path) -> None:
    named = [words[0] for words in commands(path) if name(path) in words]
    sections = tomllib.loads(path.read_text(encoding="utf-8"))
    kind = named[0] if named else "pretrain" if "dual" in sections else "finetune" if "data" in sections else "align"
    recipe = load_recipe(SCHEMAS[kind], path)
    with torch.device("meta"):  # shapes without numbers: the published models are large
        if isinstance(recipe, AlignRecipe):
            resolve_charset(recipe.glyph.charset)
            assert build_encoder(recipe.glyph.encoder).dim >= 1
        elif isinstance(recipe, PretrainRecipe):
            characters = len(resolve_charset(recipe.model.charset))
            assert build_decoder(recipe.model, characters).dim == recipe.model.decoder.dim
        elif isinstance(recipe, FinetuneRecipe) and not recipe.init.glyph:  # a glyph encoder brings settings along
            characters = len(resolve_charset(recipe.model.charset))
            assert build_recognizer(recipe.model, characters).decoder.dim == recipe.model.decoder.dim


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_recipes_say_how_they_are_used(path: Path) -> None:
    comment = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    assert any(name(path) in words for words in commands(path)) or "make slow runs it" in comment


def test_constraints_cover_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(text) for text in sum(project["optional-dependencies"].values(), project["dependencies"])]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "exact versions only, no local builds"
    pinned = {canonicalize_name(key): version for key, version in (line.split("==") for line in lines)}
    assert len(pinned) == len(lines)
    for requirement in wanted:
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert not {"dptr", "pip"} & set(pinned)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_recipes_shown_load(document: Path, tmp_path: Path) -> None:
    for block in re.findall(r"^```toml\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        (tmp_path / "shown.toml").write_text(block)
        for command in SCHEMAS.keys() - {"synth"}:  # what is shown serves all stages of training
            load_recipe(SCHEMAS[command], tmp_path / "shown.toml")
