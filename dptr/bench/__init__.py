"""How fast a recognizer reads, and with how much memory; in torch and in onnxruntime.

Each backend reads in processes of its own, so that neither its memory nor its start hides behind the other's.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

from dptr.bench.process import WARM_UP, Measurement, Plan, Timing
from dptr.bench.stages import BackendName
from dptr.data.crops import UNREADABLE
from dptr.data.labeled import open_labeled
from dptr.data.report import DropReport
from dptr.inference.onnx_backend import SUFFIX
from dptr.utils.errors import UserError
from dptr.utils.extras import describe_install
from dptr.version import __version__
from dptr.weights import DEFAULT_MODEL, SHIPPED, model_file
from dptr.weights.packages import find_folder

__all__ = ["STARTS", "WARM_UP", "Measurement", "Report", "Timing", "bench"]

CROPS = 64  # different ones at most, read in turn
STARTS = 3  # processes a backend; the last of them goes on to read

Progress = Callable[[str, int, int], None]  # what, processes ended, processes in all

_CHILD = "import sys; _, plan, *sys.path = sys.argv; from dptr.bench.process import answer; answer(plan)"


@dataclass(frozen=True)
class Report:
    """All that was measured, and how.

    Attributes:
        measurements: one a backend; ``start_seconds`` is the median of ``STARTS`` processes.
        left_out: backends that are not there, with the reason.
        drops: crops that cannot be opened.
        parameters, flops: as in ``Measurement``; None where torch was not measured.
    """

    model: str
    data: str | None
    crops: int
    repeats: int
    threads: int
    cores: int
    cpu: str
    measurements: list[Measurement]
    left_out: dict[str, str]
    drops: DropReport

    @property
    def parameters(self) -> int | None:
        return next((each.parameters for each in self.measurements if each.parameters is not None), None)

    @property
    def flops(self) -> dict[str, int] | None:
        return next((each.flops for each in self.measurements if each.flops is not None), None)

    def to_json(self) -> dict[str, Any]:
        """``{"dptr", "model", "cpu", ..., "parameters", "flops", "backends": [{"backend", "timings", ...}]}``."""
        apart = ("parameters", "flops")  # they are the model's
        backends = [{key: row[key] for key in row if key not in apart} for row in map(asdict, self.measurements)]
        return {
            "dptr": __version__,
            "model": self.model,
            "cpu": self.cpu,
            "cores": self.cores,
            "threads": self.threads,
            "crops": {"source": self.data or "drawn", "count": self.crops},
            "warm_up": WARM_UP,
            "repeats": self.repeats,
            "starts": STARTS,
            "parameters": self.parameters,
            "flops": self.flops,
            "backends": backends,
            "left_out": self.left_out,
            "dropped": self.drops.to_json(),
        }


def bench(
    model: str | Path = DEFAULT_MODEL,
    data: str | Path | None = None,
    batches: Sequence[int] = (1, 32),
    backend: BackendName | Literal["both"] | None = None,
    repeats: int = 100,
    threads: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Measure a recognizer on the CPU.

    Args:
        model: a shipped name, a folder that ``dptr finetune`` wrote, or a file that ``dptr export`` wrote.
        data: labeled crops, of which ``CROPS`` are read, evenly spread; None = words drawn for this. Labels do not
            count.
        batches: crops a round, >= 1 each.
        backend: what is measured; None = what this model and this installation have.
        repeats: rounds of each batch size, >= 1.
        threads: of each backend, >= 1.
        progress: called after each process.

    Raises:
        UserError: no such model or data set, no crop that can be opened, a backend that is not there, a number below
            its minimum, or a process that ended early.
    """
    batches = list(dict.fromkeys(batches))
    for name, number in (*(("batch", each) for each in batches), ("repeats", repeats), ("threads", threads)):
        if number < 1:
            raise UserError(f"{name} {number}: below 1; pass 1 or more")
    models, left_out = _models(str(model))
    names: tuple[BackendName, ...] = get_args(BackendName) if backend == "both" else (backend,) if backend else ()
    for each in names:
        if each in left_out:
            raise UserError(f"backend '{each}': {left_out[each]}")
    backends = names or tuple(models)
    source = None if data is None else str(data)
    indices, drops = _readable(source)
    runs_by_backend: dict[BackendName, list[Measurement]] = {each: [] for each in backends}
    for number in range(STARTS * len(backends)):
        each = backends[number % len(backends)]
        rounds = repeats if len(runs_by_backend[each]) == STARTS - 1 else 0
        runs_by_backend[each].append(
            _in_a_process(Plan(each, models[each], source, indices, batches, rounds, threads, time.monotonic()))
        )
        progress("processes", number + 1, STARTS * len(backends))
    measurements = [
        replace(runs[-1], start_seconds=median(run.start_seconds for run in runs)) for runs in runs_by_backend.values()
    ]
    missing = {} if names else left_out
    return Report(str(model), source, len(indices), repeats, threads, _cores(), _cpu(), measurements, missing, drops)


def _in_a_process(plan: Plan) -> Measurement:
    """``measure`` in a new process, which imports from where this one does and does not outlive it."""
    command = [sys.executable, "-P", "-c", _CHILD, json.dumps(asdict(plan)), *sys.path]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:
        assert child.stdout is not None
        try:
            lines = child.stdout.read().splitlines()
            child.wait()
        except BaseException:
            child.kill()
            child.wait()
            raise
    if child.returncode:
        last = lines[-1] if lines else "it said nothing"
        raise UserError(
            f"backend '{plan.backend}': its process ended with code {child.returncode} ({last}); pass smaller batches "
            "if memory ran out, or report it"
        )
    result = next(json.loads(line) for line in lines if line.startswith('{"'))  # libraries may print warnings
    if "error" in result:
        raise UserError(result["error"])
    return Measurement(**result | {"timings": [Timing(**row) for row in result["timings"]]})


def _models(model: str) -> tuple[dict[BackendName, str], dict[str, str]]:
    """The model as each backend takes it, and of the other backends why they cannot."""
    if model not in SHIPPED and not find_folder(model).exists():
        raise UserError(
            f"model '{model}': neither a shipped name ({', '.join(SHIPPED)}) nor a folder or a file; check the path, "
            "or see 'dptr models'"
        )
    models: dict[BackendName, str] = {}
    left_out = {}
    exported = Path(model) if Path(model).suffix == SUFFIX else model_file(model, f"model{SUFFIX}")
    reason = _why_not_torch(model)
    if reason:
        left_out["torch"] = reason
    else:
        models["torch"] = model
    if exported.is_file():
        models["onnx"] = str(exported)
    else:
        left_out["onnx"] = f"no {exported}; write it with 'dptr export'"
    if not models:
        raise UserError(f"model '{model}': {'; '.join(f'{name}: {reason}' for name, reason in left_out.items())}")
    return models, left_out


def _why_not_torch(model: str) -> str:
    """The reason why torch cannot read the model here; empty where it can."""
    if Path(model).suffix == SUFFIX:
        return f"{model} is an exported file; pass the folder that it was made of"
    if not model_file(model, "config.json").is_file():
        return f"no config.json in {model}; pass the 'model' folder that training wrote"
    if find_spec("torch") is None:
        return f"torch is not installed; {describe_install('train')}"
    try:
        model_file(model, "model.safetensors")
    except UserError as error:
        return str(error).removeprefix(f"model '{model}': ")
    return ""


def _readable(data: str | None) -> tuple[list[int], DropReport]:
    drops = DropReport()
    if data is None:
        return list(range(CROPS)), drops
    dataset = open_labeled(data)
    count = min(CROPS, len(dataset))
    indices = []
    for index in (number * len(dataset) // count for number in range(count)):
        where = f"{data}/{dataset.key(index)}"
        try:
            dataset.image(index)
        except UserError as error:
            drops.add(UNREADABLE, where, str(error).removeprefix(f"{where}: "))
        else:
            indices.append(index)
    if not indices:
        raise UserError(f"{data}: no crop left ({drops.total} {UNREADABLE}); look at it with 'dptr data check'")
    return indices, drops


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.exists() else None
    return match[1] if match else platform.processor() or platform.machine()
