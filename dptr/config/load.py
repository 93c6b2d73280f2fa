"""Recipes from TOML files and ``--set a.b=c``: unknown keys are refused with the nearest name.

A file holds only what differs from the defaults in ``dptr.config``.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from dptr.config.model import Config
from dptr.config.renamed_render import explain_renamed
from dptr.utils.errors import UserError

R = TypeVar("R", bound=Config)


def load_recipe(schema: type[R], path: str | Path | None = None, overrides: list[str] | None = None) -> R:
    """Read a TOML recipe, apply ``a.b=c`` overrides and validate.

    Args:
        schema: the recipe's class.
        path: a TOML file; None = the defaults.
        overrides: each ``dotted.key=value``; the value is read as TOML, or as a bare string where that fails.

    Raises:
        UserError: the file is missing or no TOML, a key is unknown (the nearest one is named) or a value is invalid.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise UserError(f"recipe {path}: {error.strerror}; pass an existing TOML file to --config") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"recipe {path}: not valid TOML ({error}); see recipes/ for examples") from error
    for override in overrides or []:
        _apply(values, override)
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(schema, error, str(path or "--set"))) from error


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {override}: no key or no '='; write --set section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override}: '{parent}' is a value, not a section; check the dotted key")
    values[leaf] = value


def _explain(schema: type[Config], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    dotted = ".".join(map(str, first["loc"]))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        if renamed := explain_renamed(dotted, list(schema.model_fields)):
            return f"{where}: old key '{dotted}'; {renamed}{more}"
        nearest = _nearest([part for part in first["loc"] if isinstance(part, str)], _keys(schema))
        hint = f"did you mean '{nearest}'?" if nearest else f"known sections: {', '.join(schema.model_fields)}"
        return f"{where}: unknown key '{dotted}'; {hint}{more}"
    rule = {"tuple_type": 'Input should be a list, such as ["a", "b"]', "model_type": "Input should be a section"}
    message = rule.get(first["type"], first["msg"].removeprefix("Value error, "))
    return f"{where}: {dotted} = {json.dumps(first['input'], default=str)}: {message}{more}"


def _nearest(location: list[str], every: list[str]) -> str | None:
    """A similar key of the same section, else one of the same last name, else a similar one, else None."""
    leaf = location[-1]
    leaves = {key.split(".")[-1]: key for key in reversed(every)}
    beside = {key.split(".")[-1]: key for key in every if key.split(".")[:-1] == location[:-1]}
    if similar := difflib.get_close_matches(leaf, beside, n=1):
        return beside[similar[0]]
    if leaf in leaves:
        return leaves[leaf]
    if similar := difflib.get_close_matches(".".join(location), every, n=1, cutoff=0.5):
        return similar[0]
    similar = difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.5)
    return leaves[similar[0]] if similar else None


def _keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a recipe; those of a list's entries stand under the list's own name."""
    keys = []
    for name, field in schema.model_fields.items():
        keys.append(prefix + name)
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys += _keys(part, f"{prefix}{name}.")
    return keys
