"""Where a training run is kept: a folder that is not overwritten, and the saved state from which it goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dptr.config.base import Config
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
    """Refuse to overwrite anything, and to resume with another recipe. A run that saved nothing yet is no loss.

    A run that the launcher restarts goes on without ``resume`` (``dptr.training.restart``).

    Raises:
        UserError: ``out`` is a file, holds what no run wrote, is locked by a run, holds one and ``resume`` is off, or
            holds one whose recipe differs in what changes the result.
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
    default, now = (flat(value.model_dump(mode="json")) for value in (type(recipe)(), recipe))
    unchanged = flat(read_json(path, "recipe of the run"))
    before = {key: value for key, value in default.items() if key in now}  # settings that came later: as they were
    if "data.validation_split" in now and not unchanged.get("data.validation"):
        before["data.validation_split"] = "order"  # the only way when runs did not say it
    before |= {renamed(key, now) or key: value for key, value in unchanged.items()}
    before |= {key: "" for key in now if key.endswith("decoder.direction") and before.get(key) is None}
    computed = {"run.steps"} if now.get("run.epochs") and before.get("run.epochs") else set()  # from the data, later
    if now.get("model.decoder.direction") == "":
        computed.add("model.decoder.direction")
    changed = [
        f"{key} was {json.dumps(before.get(key))} and is now {json.dumps(now.get(key))}"
        for key in sorted((before.keys() | now.keys()) - FREE_TO_CHANGE - computed)
        if before.get(key) != now.get(key) and not (key not in now and unread_before(key))
    ]
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"{out}: {', '.join(changed[:5])}{more}; a resumed run keeps its recipe; "
            "pass the same settings, or another --out"
        )


def has_run(out: Path) -> bool:
    """Whether there is a run in ``out`` that saved something."""
    return (out / "model").exists() or bool(_saved_states(out))


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: steps done.
        seconds: spent training, for runs that follow the clock.
        best: of each model that trains (one has the name ""), the scores of its best state.
        baseline: of each, the scores of the first validation.
        validations_since_best: validations without a better state.
        data: what it trains and validates on, by role: a number and a digest (``dptr.data.crops.LabeledCrops.digest``).
    """

    step: int = 0
    seconds: float = 0.0
    best: dict[str, dict[str, float]] = field(default_factory=dict)
    baseline: dict[str, dict[str, float]] = field(default_factory=dict)
    validations_since_best: int = 0
    data: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """A step's state as a copy in host memory, which training leaves alone."""

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
    """Weights, optimizer and EMA of this step."""
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in (ema or {}).items()}
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    for parameter, slots in optimizer.state.items():
        tensors |= {f"optimizer.{names[parameter]}.{slot}": tensor for slot, tensor in slots.items()}
    # contiguous already here: in the thread that writes, torch would start threads of its own for that
    kept = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    described = {**asdict(progress), "scaler": scaler.state_dict() if scaler is not None else {}}
    return State(progress.step, kept, described)


def write_state(out: Path, state: State) -> None:
    """Write to ``out/state``, whole or not at all, then delete the state before it.

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
) -> bool:
    """Load the last state of ``out`` into the arguments; whether there was one.

    Raises:
        UserError: the state is damaged or of another model.
    """
    remove_partial(out / "state")
    found = [folder for folder in _saved_states(out) if (folder / _STATE).is_file()]
    if not found:
        return False
    _remove_states_before(found[-1])  # a kill left them
    described = read_json(found[-1] / _STATE, "training state")
    if "baseline" not in described:
        described = _from_single_model(described)
    tensors = load_tensors(found[-1] / _TENSORS, "training state")
    part = {
        prefix: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in ("model.", "ema.", "optimizer.")
    }
    load_strictly(module, part["model."], str(found[-1]))
    for name, tensor in (ema or {}).items():
        tensor.copy_(part["ema."][name])
    for name, parameter in module.named_parameters():
        saved = {slot: part["optimizer."].get(f"{name}.{slot}") for slot in ("step", "exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {
            # moments in their parameter's memory layout: the same kernels run as before
            slot: tensor.to(parameter.device) if slot == "step" else torch.empty_like(parameter).copy_(tensor)
            for slot, tensor in saved.items()
            if tensor is not None
        }
    if scaler is not None and described["scaler"]:
        scaler.load_state_dict(described["scaler"])
    for name in asdict(progress):
        if name in described or name != "data":  # which came later
            setattr(progress, name, described[name])
    return True


def compare_data(progress: Progress, data: Mapping[str, str]) -> list[str]:
    """A line for the log on each set that is not what the run began with; from now on it is known as it is."""
    changed = [
        f"warning: the crops for {role} have changed: {progress.data[role]} before, {now} now; losses go on from others"
        for role, now in data.items()
        if progress.data.get(role, now) != now
    ]
    progress.data = dict(data)
    return changed


def _saved_states(out: Path) -> list[Path]:
    """Folders of states, the last step's last."""
    return sorted(folder for folder in (out / "state").glob("step-*") if re.fullmatch(r"step-\d{9,}", folder.name))


def _remove_states_before(state: Path) -> None:
    for older in _saved_states(state.parents[1]):
        if older.name < state.name:
            remove_files(older, (_STATE, _TENSORS))


def _from_single_model(described: dict[str, Any]) -> dict[str, Any]:
    """A state as version 0.1.0 wrote it until commit e104e5d: one model's scores, ``adapt``'s baseline among them."""
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
