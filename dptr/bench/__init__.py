"""Measure the speed and memory of a recognizer in torch and in onnxruntime.

Each backend runs in separate processes, so that memory and start-up time are measured independently.
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

CROPS = 64  # largest number of distinct crops, which are read in a cycle
STARTS = 3  # processes for each backend, to time the start; only the last one measures reading

Progress = Callable[[str, int, int], None]  # unit, finished processes, all processes

_CHILD = "import sys; _, plan, *sys.path = sys.argv; from dptr.bench.process import answer; answer(plan)"


@dataclass(frozen=True)
class Report:
    """The measurements and their conditions.

    Attributes:
        model: the model, as the user gave it.
        data: the data set; None = rendered words.
        crops: number of distinct crops.
        repeats: timed rounds of each batch size.
        threads: threads of each backend.
        cores: CPU cores available to this process.
        cpu: name of the processor.
        measurements: one for each backend; ``start_seconds`` is the median of ``STARTS`` processes.
        left_out: backends that are unavailable, with the reason.
        drops: crops that cannot be opened.
        parameters, flops: as in ``Measurement``; None if torch was not measured.
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
        of_model = ("parameters", "flops")  # properties of the model, not of a backend
        backends = [{key: row[key] for key in row if key not in of_model} for row in map(asdict, self.measurements)]
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
        data: labeled crops, of which up to ``CROPS`` are read, evenly spaced; None = words are rendered. Labels are
            ignored.
        batches: batch sizes, each >= 1.
        backend: the backends to measure; None = those that the model and the installation support.
        repeats: timed rounds of each batch size, >= 1.
        threads: threads of each backend, >= 1.
        progress: called at the start and after each process.

    Raises:
        UserError: there is no such model or data set, no crop can be opened, a requested backend is unavailable, a
            number is below its minimum, or a process fails.
    """
    batches = list(dict.fromkeys(batches))
    for name, number in (*(("batch", each) for each in batches), ("repeats", repeats), ("threads", threads)):
        if number < 1:
            raise UserError(f"{name} {number}: below 1; pass 1 or more")
    models, left_out = _find_models(str(model))
    names: tuple[BackendName, ...] = get_args(BackendName) if backend == "both" else (backend,) if backend else ()
    for each in names:
        if each in left_out:
            raise UserError(f"backend '{each}': {left_out[each]}")
    backends = names or tuple(models)
    source = None if data is None else str(data)
    indices, drops = _find_readable(source)
    runs_by_backend: dict[BackendName, list[Measurement]] = {each: [] for each in backends}
    progress("processes", 0, STARTS * len(backends))
    for number in range(STARTS * len(backends)):
        each = backends[number % len(backends)]
        rounds = repeats if len(runs_by_backend[each]) == STARTS - 1 else 0
        runs_by_backend[each].append(
            _measure_in_process(Plan(each, models[each], source, indices, batches, rounds, threads, time.monotonic()))
        )
        progress("processes", number + 1, STARTS * len(backends))
    measurements = [
        replace(runs[-1], start_seconds=median(run.start_seconds for run in runs)) for runs in runs_by_backend.values()
    ]
    missing = {} if names else left_out
    return Report(
        str(model), source, len(indices), repeats, threads, _count_cores(), _cpu_name(), measurements, missing, drops
    )


def _measure_in_process(plan: Plan) -> Measurement:
    """Run ``measure`` in a new process with the same import path. The process ends at the latest when this one does.

    Raises:
        UserError: the process fails, or reports an error.
    """
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


def _find_models(model: str) -> tuple[dict[BackendName, str], dict[str, str]]:
    """The model's folder or file for each available backend, and the reasons why the other backends are unavailable.

    Raises:
        UserError: there is no such model, or no backend can read it.
    """
    if model not in SHIPPED and not find_folder(model).exists():
        raise UserError(
            f"model '{model}': neither a shipped name ({', '.join(SHIPPED)}) nor a folder or a file; check the path, "
            "or see 'dptr models'"
        )
    models: dict[BackendName, str] = {}
    left_out = {}
    exported = Path(model) if Path(model).suffix == SUFFIX else model_file(model, f"model{SUFFIX}")
    reason = _torch_problem(model)
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


def _torch_problem(model: str) -> str:
    """The reason why torch cannot read the model here, or "" if it can."""
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


def _find_readable(data: str | None) -> tuple[list[int], DropReport]:
    """Indices of up to ``CROPS`` evenly spaced crops, and a report of those that cannot be opened.

    Raises:
        UserError: there is no such data set, or none of the crops can be opened.
    """
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


def _count_cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.exists() else None
    return match[1] if match else platform.processor() or platform.machine()
