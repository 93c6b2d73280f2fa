"""Recipes from TOML files and ``--set a.b=c``: unknown keys are refused with the nearest name.

A file holds only what differs from the defaults in ``dptr.config``.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from dptr.config.base import Config, KindConfig
from dptr.config.renamed_render import explain_renamed
from dptr.utils.errors import UserError
from dptr.utils.reading import DEEPEST, LARGEST_SETTINGS, parse_toml, read_file

R = TypeVar("R", bound=Config)

# Old -> new names of keys and sections, for recipes with the new name and without the old one.
RENAMED = {
    "run.batch": "run.batch_size",
    "run.accumulate": "run.gradient_accumulation_steps",
    "run.checkpointing": "run.activation_checkpointing",
    "optim.clip": "optim.grad_clip",
    "optim.ema": "optim.ema_decay",
    "model.encoder.widest": "model.encoder.max_width",
    "glyph.encoder.widest": "glyph.encoder.max_width",
    "standardise": "standardize",
    "start": "init.glyph",
    "teach.start": "init.decoder",
    "teach": "co_training",
    "distil": "distillation",
    "data.limit": "data.max_crops",
    "data.grow": "data.extend_charset",
    "model": "init.model",
    "encoder_lr": "encoder_lr_scale",
    "fmu_lr": "fmu_lr_scale",
    "decoder_lr": "decoder_lr_scale",
    "share": "domain_share",
    "crops": "domain_crops",
    "rehearsed": "language_crops",
    "forget": "max_accuracy_loss",
}
REMOVED = ("model.encoder", "model.fmu", "run.workers", "words.sources")  # keys that some recipes had but never read


def load_recipe(schema: type[R], path: str | Path | None = None, overrides: Sequence[str] = ()) -> R:
    """Read a TOML recipe, apply ``a.b=c`` overrides and validate.

    Args:
        schema: the recipe's class.
        path: a TOML file; None = the defaults.
        overrides: each ``dotted.key=value``; the value is TOML, or a string if it is not valid TOML.

    Raises:
        UserError: the file is missing or not TOML; a key is unknown (the error names its new name, or the nearest one)
            or of another kind of encoder or decoder; or a value is invalid.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = parse_toml(read_file(path, LARGEST_SETTINGS).decode("utf-8-sig"))
        except OSError as error:
            raise UserError(f"recipe {path}: {error.strerror}; pass an existing TOML file to --config") from error
        except ValueError as error:
            raise UserError(f"recipe {path}: not valid TOML ({error}); see recipes/ for examples") from error
    for override in overrides:
        _apply(values, override)
    _refuse_old(schema, values, str(path or "--set"))
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(schema, error, str(path or "--set"))) from error


def check_overrides(overrides: Mapping[str, str]) -> None:
    """Check that no override takes the place of another one.

    Args:
        overrides: as for ``load_recipe``, in their order, by how the user wrote each, such as ``--set run.seed=1``.

    Raises:
        UserError: two of them set a key to different values, or one replaces the section of another; or one is
            malformed.
    """
    values: dict[str, Any] = {}
    written: dict[str, str] = {}  # by dotted key
    for shown, override in overrides.items():
        before = flat(values)  # holds lists as they are, so its values do not change
        _apply(values, override)
        after = flat(values)
        for key, value in before.items():
            if key not in after or after[key] != value:
                raise UserError(f"{written[key]} and {shown}: only one of them can count; pass one")
        written |= {key: shown for key in after if key not in before}


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {override}: no key or no '='; write --set section.key=value")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    except ValueError as error:
        raise UserError(f"--set {key}=...: {error}; write a value that the recipe takes") from error
    *parents, leaf = key.strip().split(".")
    if len(parents) > DEEPEST:
        raise UserError(f"--set {key[:60]}...: {len(parents)} sections; check the dotted key")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override}: '{parent}' is a value, not a section; check the dotted key")
    values[leaf] = value


def renamed(key: str, known: Collection[str]) -> str | None:
    """The new name of a dotted key; None if it is not an old name, or is still in use.

    Args:
        known: the dotted keys of the recipe, including sections.
    """
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        old = ".".join(parts[:length])
        if old in RENAMED and old not in known:
            new = ".".join([RENAMED[old], *parts[length:]])
            return new if new in known else None
    return None


def unread_before(key: str) -> bool:
    """Whether older recipes may have had a key without reading it.

    They had the keys of all kinds of encoders and decoders, and those of ``REMOVED``.
    """
    parts = {"encoder", "decoder", "dual"} & set(key.split(".")[:-1])
    return bool(parts) or any(f"{key}.".startswith(f"{old}.") for old in REMOVED)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted keys."""
    keys: dict[str, Any] = {}
    for key, value in values.items():
        keys |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return keys


def _refuse_old(schema: type[Config], values: dict[str, Any], where: str) -> None:
    known = _keys(schema)
    for key in flat(values):
        if new := renamed(key, known):
            raise UserError(f"{where}: unknown key '{key}'; it is now '{new}'")
        if any(f"{key}.".startswith(f"{old}.") and old not in known for old in REMOVED):
            raise UserError(f"{where}: unknown key '{key}'; this command reads no such setting: leave it out")


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
    if first["type"] == "other_kind":
        context = first["ctx"]
        return (
            f"{where}: {dotted}.{context['key']}: kind '{context['kind']}' has no such key, which is one of "
            f"{context['others']}; leave it out, or set {dotted}.kind={context['first']}{more}"
        )
    rule = {"tuple_type": 'Input should be a list, such as ["a", "b"]', "model_type": "Input should be a section"}
    message = rule.get(first["type"], first["msg"].removeprefix("Value error, "))
    return f"{where}: {dotted} = {json.dumps(first['input'], default=str)}: {message}{more}"


def _nearest(location: list[str], every: list[str]) -> str | None:
    """A similar key of the same section, or one with the same last name, or a similar one; None if there is none."""
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
    """All dotted keys of a recipe, of all kinds; keys of a list's entries are under the name of the list."""
    keys = []
    classes = [schema, *schema.kinds().values()] if issubclass(schema, KindConfig) else [schema]
    for name, field in {name: field for some in classes for name, field in some.model_fields.items()}.items():
        keys.append(prefix + name)
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys += _keys(part, f"{prefix}{name}.")
    return keys
