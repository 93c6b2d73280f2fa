"""Where a training run is kept: a folder that is not overwritten, and the saved state from which it goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dptr.config.base import Config
from dptr.config.load import flat, renamed
from dptr.models.loading import load_strictly
from dptr.utils.errors import UserError
from dptr.utils.files import held, load_tensors, read_json, remove_partial, save_tensors, whole_folder, write_json

if TYPE_CHECKING:
    from dptr.training.trainer import Run

FREE_TO_CHANGE = {
    f"run.{key}" for key in ("workers", "log_every", "save_every", "validate_every", "tensorboard", "device")
} | {"data.cache", "dual.cache", "dual.cache_gb"}


def check_out(out: Path, recipe: Config, resume: bool) -> None:
    """Refuse to overwrite anything, and to resume with another recipe. A run that saved nothing yet is no loss.

    Raises:
        UserError: ``out`` is a file, is ``held`` by a run, holds one and ``resume`` is off, holds one whose recipe
            differs in what changes the result, or holds a model that no run made.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file; pass a folder to --out")
    if out.is_dir():
        with held(out, alone=False):
            remove_partial(out)
    path = out / "recipe.json"
    if not (out / "model").exists() and not any((out / "state").glob("step-*")):
        return
    if not path.exists():
        raise UserError(f"{out} holds a model or state but no recipe.json, so no run made it; pass another --out")
    if not resume:
        raise UserError(f"{out} already holds a run; pass --resume to go on with it, or another --out")
    default, now = (flat(value.model_dump(mode="json")) for value in (type(recipe)(), recipe))
    kept = flat(read_json(path, "recipe of the run"))
    # settings that came later: off, as they were; keys of another kind than now: the kind itself differs
    before = default | {renamed(key, now) or key: value for key, value in kept.items()}
    changed = [
        f"{key} was {json.dumps(before.get(key))} and is now {json.dumps(now[key])}"
        for key in sorted(now.keys() - FREE_TO_CHANGE)
        if before.get(key) != now[key]
    ]
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"{out}: {', '.join(changed[:5])}{more}; a resumed run keeps its recipe; "
            "pass the same settings, or another --out"
        )


def save(run: Run) -> None:
    """Write weights, optimiser and EMA of this step, then delete the state before it."""
    if not run.accelerator.is_main_process:
        return
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in (run.ema or {}).items()}
    names: dict[Tensor, str] = {parameter: name for name, parameter in run.model.named_parameters()}
    for parameter, slots in run.optimizer.state.items():
        tensors |= {f"optimizer.{names[parameter]}.{slot}": tensor for slot, tensor in slots.items()}
    scaler = run.accelerator.scaler.state_dict() if run.accelerator.scaler is not None else {}
    folder = run.out / "state"
    with whole_folder(folder / f"step-{run.step:09d}") as aside:
        save_tensors(aside / "tensors.safetensors", {name: tensor.cpu() for name, tensor in tensors.items()})
        write_json(aside / "state.json", {"step": run.step, "best": run.best, "waited": run.waited, "scaler": scaler})
    for older in sorted(folder.glob("step-*"))[:-1]:
        shutil.rmtree(older)


def restore(run: Run) -> bool:
    """Load the last state of ``run.out``; whether there was one.

    Raises:
        UserError: the state is damaged or of another model.
    """
    remove_partial(run.out / "state")
    found = sorted(folder for folder in (run.out / "state").glob("step-*") if (folder / "state.json").is_file())
    if not found:
        return False
    described = read_json(found[-1] / "state.json", "training state")
    tensors = load_tensors(found[-1] / "tensors.safetensors", "training state")
    part = {
        prefix: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in ("model.", "ema.", "optimizer.")
    }
    load_strictly(run.model, part["model."], str(found[-1]))
    for name, tensor in (run.ema or {}).items():
        tensor.copy_(part["ema."][name])
    for name, parameter in run.model.named_parameters():
        saved = {slot: part["optimizer."].get(f"{name}.{slot}") for slot in ("step", "exp_avg", "exp_avg_sq")}
        run.optimizer.state[parameter] = {
            # moments in their parameter's memory layout: the same kernels run as before
            slot: tensor.to(parameter.device) if slot == "step" else torch.empty_like(parameter).copy_(tensor)
            for slot, tensor in saved.items()
            if tensor is not None
        }
    if run.accelerator.scaler is not None and described["scaler"]:
        run.accelerator.scaler.load_state_dict(described["scaler"])
    run.step, run.best, run.waited = described["step"], described["best"], described.get("waited", 0)
    return True
