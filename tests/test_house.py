"""Recipes load and say how they are used; the constraints, newest and oldest, cover every dependency."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch
from helpers_docs import ROOT, SCHEMAS, check_recipe, commands, name, parsed
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from dptr.config.load import load_recipe
from dptr.config.train import AlignRecipe, FinetuneRecipe, PretrainRecipe
from dptr.models.recognizer import build_decoder, build_encoder, build_recognizer
from dptr.text.charset import resolve_charset
from dptr.weights.packages import read_catalog

OWN = ("dptr", "dptr-weights", *(f"dptr-{name}" for name in read_catalog()))
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_commands_shown_by_recipes_exist(path: Path, tmp_path: Path) -> None:
    for command in commands(path):
        arguments = command.dptr
        assert arguments is not None, command
        kind, parameters = parsed(arguments)
        if parameters.get("config") is None or (ROOT / parameters["config"]).parent == ROOT / "recipes":
            check_recipe(kind, parameters, {}, tmp_path)


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_recipes_load_and_their_parts_fit(path: Path) -> None:
    named = [command.words[1] for command in commands(path) if name(path) in command.words]
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
    assert any(name(path) in command.words for command in commands(path)) or "make slow runs it" in comment


def test_constraints_cover_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(text) for text in sum(project["optional-dependencies"].values(), project["dependencies"])]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "exact versions only, no local builds"
    pinned = {canonicalize_name(key): version for key, version in (line.split("==") for line in lines)}
    assert len(pinned) == len(lines)
    for requirement in wanted:
        if requirement.name not in OWN:
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert not {*OWN, "pip"} & set(pinned)


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    """'make oldest' tests what pyproject.toml promises."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = ("train", "export", "import", "pdf", "serve", "shards", "ray")
    extras = (project["optional-dependencies"][name] for name in names)
    wanted = [Requirement(text) for text in sum(extras, project["dependencies"])]
    lines = [line for line in (ROOT / "constraints-oldest.txt").read_text().splitlines() if not line.startswith("#")]
    oldest = {canonicalize_name(key): version for key, version in (line.split("==") for line in lines)}
    for requirement in wanted:
        if requirement.name not in (*OWN, "torch"):
            (bound,) = (each.version for each in requirement.specifier if each.operator == ">=")
            assert oldest[canonicalize_name(requirement.name)] in SpecifierSet(f"=={bound}.*"), requirement
