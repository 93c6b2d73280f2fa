"""The folder of a training run, which is never overwritten, and the saved state from which a run resumes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dptr.config.base import Config, KindConfig
from dptr.config.load import flat, renamed, unread_before
from dptr.models.loading import check_model_folder, load_strictly
from dptr.training.restart import await_release, is_restart
from dptr.utils.errors import UserError
from dptr.utils.files import atomic_folder, lock_folder, read_json, remove_files, remove_partial, write_json
from dptr.utils.outputs import check_folder
from dptr.utils.tensors import load_tensors, save_tensors

FREE_TO_CHANGE = {
    f"run.{key}" for key in ("workers", "log_every", "save_every", "validate_every", "tensorboard", "device")
} | {"data.cache", "corpus.cache", "dual.cache", "dual.cache_gb"}

RECIPE = "recipe.json"  # the manifest of a run
_STATE, _TENSORS = "state.json", "tensors.safetensors"


def check_out(out: Path, recipe: Config, resume: bool) -> None:
    """Check that a run may train in ``out``: it must overwrite nothing, and resume with the same recipe.

    A run that has saved no state may be overwritten. A run that the launcher restarts resumes without ``resume``
    (``dptr.training.restart``).

    Raises:
        UserError: ``out`` is a file, is locked by a run, or holds other files than a run's; it holds a run and
            ``resume`` is off; or the run's recipe differs in settings that change the result.
    """
    if is_restart(out):
        resume = True
        await_release(out)
    check_folder(out, "training run", RECIPE, ("run", "optim"))
    for name in ("model", "decoder"):
        check_model_folder(out / name)
    if out.is_dir():
        with lock_folder(out, alone=False):
            remove_partial(out)
    path = out / RECIPE
    if not has_run(out):
        return
    if not resume:
        raise UserError(f"{out} already holds a run; pass --resume to continue it, or another --out")
    if changed := _compare_recipes(read_json(path, "recipe of the run"), recipe):
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"{out}: {', '.join(changed[:5])}{more}; a resumed run keeps its recipe; "
            "pass the same settings, or another --out"
        )


def _compare_recipes(manifest: dict[str, Any], recipe: Config) -> list[str]:
    """The settings that change the result and differ from a run's recipe, which an older version may have written."""
    default, now = _defaults(recipe), flat(recipe.model_dump(mode="json"))
    saved = flat(manifest)
    before = {key: value for key, value in default.items() if key in now}  # for settings that the saved recipe lacks
    if "data.validation_split" in now and not saved.get("data.validation"):
        before["data.validation_split"] = "order"  # the only rule before the setting existed
    before |= {renamed(key, now) or key: value for key, value in saved.items()}
    before |= {key: "" for key in now if key.endswith("decoder.direction") and before.get(key) is None}
    computed = {"run.steps"} if now.get("run.epochs") and before.get("run.epochs") else set()  # later, from the data
    if now.get("model.decoder.direction") == "":
        computed.add("model.decoder.direction")
    return [
        f"{key} was {json.dumps(before.get(key))} and is now {json.dumps(now.get(key))}"
        for key in sorted((before.keys() | now.keys()) - FREE_TO_CHANGE - computed)
        if before.get(key) != now.get(key) and not (key not in now and unread_before(key))
    ]


def _defaults(recipe: Config) -> dict[str, Any]:
    """The default settings by dotted key, of the recipe's own kinds of encoder and decoder too."""
    default = flat(type(recipe)().model_dump(mode="json"))
    of_kinds = {
        f"{key}.{name}": value
        for key, part in _kinds(recipe, "").items()
        for name, value in flat(type(part).of(kind=part.kind).model_dump(mode="json")).items()
    }
    return {**of_kinds, **default}


def _kinds(config: Config, prefix: str) -> dict[str, KindConfig]:
    """The parts with several kinds, by dotted key."""
    parts: dict[str, KindConfig] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, KindConfig):
            parts[f"{prefix}{name}"] = value
        elif isinstance(value, Config):
            parts |= _kinds(value, f"{prefix}{name}.")
    return parts


def has_run(out: Path) -> bool:
    """Whether ``out`` holds a run that has saved a model or a state."""
    return (out / "model").exists() or bool(_saved_states(out))


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        step: number of steps done.
        seconds: of training time, for runs with ``run.seconds``.
        best: scores of the best state, by model; the name of a single model is empty.
        baseline: scores of the first validation, by model.
        validations_since_best: validations since the last better state.
        data: digests (``dptr.data.crops.LabeledCrops.digest``) of training and validation crops, by role.
        origins: digests of what the recipe names and a run cannot go on without, by role (``Task.origins``).
    """

    step: int = 0
    seconds: float = 0.0
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    baseline: dict[str, dict[str, float]] = field(default_factory=dict)
    validations_since_best: int = 0
    data: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """A copy of a step's state in host memory, which training does not change."""

    step: int
    tensors: dict[str, Tensor]
    described: dict[str, Any]


def copy_state(
    progress: Progress,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: dict[str, Tensor] | None,
    scaler: torch.amp.GradScaler | None,
) -> State:
    """Copy weights, optimizer state, and EMA to host memory."""
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in (ema or {}).items()}
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    for parameter, slots in optimizer.state.items():
        tensors |= {f"optimizer.{names[parameter]}.{slot}": tensor for slot, tensor in slots.items()}
    # made contiguous here: in the writer's thread, torch would start more threads for it
    copies = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    described = {**asdict(progress), "scaler": scaler.state_dict() if scaler is not None else {}}
    return State(progress.step, copies, described)


def write_state(out: Path, state: State) -> None:
    """Write a state to ``out/state`` atomically, then delete the previous one.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    with atomic_folder(out / "state" / f"step-{state.step:09d}") as aside:
        save_tensors(aside / _TENSORS, state.tensors)
        write_json(aside / _STATE, state.described)
    _remove_states_before(_saved_states(out)[-1])


def restore_state(
    out: Path,
    progress: Progress,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: dict[str, Tensor] | None,
    scaler: torch.amp.GradScaler | None,
    origins: Mapping[str, str],
) -> bool:
    """Load the last state of ``out`` into the arguments; return whether there was one.

    Args:
        origins: digests of what the run is about to go on with, by role (``Task.origins``).

    Raises:
        UserError: the state is damaged, of another model, or began with other ``origins``.
    """
    remove_partial(out / "state")
    folders = [folder for folder in _saved_states(out) if (folder / _STATE).is_file()]
    if not folders:
        return False
    folder = folders[-1]
    _remove_states_before(folder)  # left by a kill
    described = read_json(folder / _STATE, "training state")
    if "baseline" not in described:
        described = _from_single_model(described)
    _check_origins(out, described.get("origins", {}), origins)
    tensors = load_tensors(folder / _TENSORS, "training state")
    parts = {
        prefix: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in ("model.", "ema.", "optimizer.")
    }
    load_strictly(module, parts["model."], str(folder))
    for name, tensor in (ema or {}).items():
        tensor.copy_(parts["ema."][name])
    _restore_optimizer(optimizer, module, parts["optimizer."])
    if scaler is not None and described["scaler"]:
        scaler.load_state_dict(described["scaler"])
    for name in asdict(progress):
        if name in described or name not in ("data", "origins"):  # states of older versions lack these
            setattr(progress, name, described[name])
    return True


def _restore_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    for name, parameter in module.named_parameters():
        saved = {slot: tensors.get(f"{name}.{slot}") for slot in ("step", "exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {
            # moments in their parameter's memory layout, so that the same kernels run as before
            slot: tensor.to(parameter.device) if slot == "step" else torch.empty_like(parameter).copy_(tensor)
            for slot, tensor in saved.items()
            if tensor is not None
        }


def compare_data(progress: Progress, data: Mapping[str, str]) -> dict[str, str]:
    """Warnings for the log about sets of crops that changed since the last launch, by role; store the new digests."""
    effects = {"validation": "the best state so far is measured on the new ones"}
    changed = {
        role: f"warning: the crops for {role} have changed: {progress.data[role]} before, {now} now; "
        + effects.get(role, "losses go on from others")
        for role, now in data.items()
        if progress.data.get(role, now) != now
    }
    progress.data = dict(data)
    return changed


def _check_origins(out: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    for role, digest in now.items():
        if before.get(role, digest) != digest:
            raise UserError(
                f"{out}: the {role} has changed: {before[role]} before, {digest} now; a resumed run keeps it; bring "
                "back what the run began with, or pass another --out"
            )


def _saved_states(out: Path) -> list[Path]:
    """Folders of states, in the order of steps."""
    return sorted(folder for folder in (out / "state").glob("step-*") if re.fullmatch(r"step-\d{9,}", folder.name))


def _remove_states_before(state: Path) -> None:
    for older in _saved_states(state.parents[1]):
        if older.name < state.name:
            remove_files(older, (_STATE, _TENSORS))


def _from_single_model(described: dict[str, Any]) -> dict[str, Any]:
    """Convert a state in the format before commit e104e5d: scores of one model, with the baseline of ``adapt``."""
    best = dict(described["best"])
    before = best.pop("before", None)
    baseline = best if before is None else {**best, "others": before}
    return {
        **described,
        "seconds": 0.0,
        "best": {"": best} if best else {},
        "baseline": {"": baseline} if best else {},
        "validations_since_best": described.get("waited", 0),
    }
