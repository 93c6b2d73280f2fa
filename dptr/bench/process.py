"""The measuring process of ``dptr bench``: it opens a recognizer, reads crops in rounds, and times each step."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from PIL import Image, ImageDraw, ImageFont

from dptr.bench.stages import BackendName, Source, mean_flops, open_staged
from dptr.data.labeled import open_labeled
from dptr.utils.errors import UserError
from dptr.utils.images import open_image

WARM_UP = 3  # untimed rounds of each batch size

_WORDS = (
    *("A", "42", "bus", "EXIT", "Hotel", "street", "Welcome", "pharmacy", "Chocolate", "restaurant"),
    *("electricity", "Photographer", "12.50", "OPEN", "international", "www.example.org"),
)


@dataclass(frozen=True)
class Plan:
    """The task of one process.

    Attributes:
        backend: the backend to measure.
        model: see ``open_staged``.
        data: labeled crops; None = rendered words.
        indices: indices of the crops to read.
        batches: batch sizes.
        repeats: timed rounds of each batch size; 0 = read one crop and stop.
        threads: threads of the backend.
        started: ``time.monotonic()`` when the process was started. All processes of a machine share this clock.
    """

    backend: BackendName
    model: str
    data: str | None
    indices: Sequence[int]
    batches: Sequence[int]
    repeats: int
    threads: int
    started: float


@dataclass(frozen=True)
class Timing:
    """Results for one batch size. All times are milliseconds for one crop: the time of a round over its crops.

    Attributes:
        batch: batch size; a round reads one batch.
        median_ms, p95_ms: median and 95th percentile of the wall time, from the bytes of the files to text.
        cpu_ms: median of the processor time of all threads.
        crops_per_second: number of all crops divided by the time of all rounds.
        whole_ms: mean wall time of the middle half of the rounds, sorted by their time.
        stages_ms: mean time of each step in the same rounds; the sum is ``whole_ms``.
    """

    batch: int
    median_ms: float
    p95_ms: float
    cpu_ms: float
    crops_per_second: float
    whole_ms: float
    stages_ms: dict[str, float]


@dataclass(frozen=True)
class Measurement:
    """The results of one process.

    Attributes:
        backend: the measured backend.
        version: version of torch or onnxruntime.
        start_seconds: from the start of the process to its first word, without the time to render or find the crops.
        peak_mib: peak resident memory in MiB; None if the system does not report it.
        parameters: number of parameters of the model; None with ``onnx``.
        flops: FLOPs of ``encoder`` (with the FMU) and ``decoder`` for one crop, mean over the crops; None with
            ``onnx``.
        timings: one for each batch size.
    """

    backend: BackendName
    version: str
    start_seconds: float
    peak_mib: float | None
    parameters: int | None
    flops: dict[str, int] | None
    timings: list[Timing]


def measure(plan: Plan) -> Measurement:
    """Carry out a plan in this process, which should be a new one.

    Raises:
        UserError: the model or a crop cannot be opened.
    """
    begin = time.monotonic()
    sources = _list_sources(plan)
    untimed = time.monotonic() - begin
    staged = open_staged(plan.backend, plan.model, plan.threads)
    steps = tuple(staged.steps.values())
    _time_steps(steps, sources[:1])
    start_seconds = time.monotonic() - plan.started - untimed
    if not plan.repeats:
        return Measurement(plan.backend, staged.version, start_seconds, None, None, None, [])
    supplies = {batch: cycle(sources) for batch in plan.batches}  # each batch size cycles through all crops
    marks: dict[int, list[list[float]]] = {batch: [] for batch in plan.batches}
    cpu: dict[int, list[float]] = {batch: [] for batch in plan.batches}
    for _ in range(WARM_UP + plan.repeats):
        for batch, supply in supplies.items():
            crops = list(islice(supply, batch))
            before = time.process_time()
            marks[batch].append(_time_steps(steps, crops))
            cpu[batch].append(time.process_time() - before)
    timings = [
        summarize(batch, tuple(staged.steps), np.array(marks[batch][WARM_UP:]), np.array(cpu[batch][WARM_UP:]))
        for batch in plan.batches
    ]
    peak = peak_mib()
    flops = mean_flops(staged, sources) if plan.backend == "torch" else None
    return Measurement(plan.backend, staged.version, start_seconds, peak, staged.parameters, flops, timings)


def answer(plan: str) -> None:
    """The main function of a measuring process: measure a plan given as JSON, and print the result as JSON.

    The result is a ``Measurement``, or ``{"error": ...}``. The process ends when its standard input is closed, so it
    never outlives the process that started it.
    """
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    try:
        result = asdict(measure(Plan(**json.loads(plan))))
    except UserError as error:
        result = {"error": str(error)}
    print(json.dumps(result))


def summarize(
    batch: int, names: Sequence[str], marks: Float64[np.ndarray, "rounds marks"], cpu: Float64[np.ndarray, " rounds"]
) -> Timing:
    """Convert times of rounds, in seconds, to milliseconds for one crop.

    Args:
        batch: crops in a round.
        names: names of the steps.
        marks: the times at which each round began and each of its steps ended, so there is one more than ``names``.
        cpu: processor time of each round.
    """
    whole = marks[:, -1] - marks[:, 0]
    cut = len(whole) // 4
    middle = np.argsort(whole, kind="stable")[cut : len(whole) - cut]
    scale = 1000 / batch
    median_ms, p95_ms = scale * np.percentile(whole, (50, 95))
    stages = scale * np.diff(marks[middle], axis=1).mean(0)
    return Timing(
        batch,
        float(median_ms),
        float(p95_ms),
        scale * float(np.median(cpu)),
        batch * len(whole) / float(whole.sum()),
        scale * float(whole[middle].mean()),
        dict(zip(names, stages.tolist(), strict=True)),
    )


def peak_mib() -> float | None:
    """Peak resident memory of this process in MiB, or None if the system does not report it.

    On Linux this is ``VmHWM``. There, ``ru_maxrss`` starts at the memory that the parent process had when it started
    this program.
    """
    status = Path("/proc/self/status")
    match = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    if match:
        return int(match[1]) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def draw_word(index: int) -> bytes:
    """Render a word in Pillow's default font on a noisy background.

    ``index`` determines word, size, colors, and noise. Returns the bytes of a JPEG file, or of a PNG file if ``index``
    is a multiple of 4.
    """
    rng = np.random.default_rng(index)
    word, font = _WORDS[index % len(_WORDS)], ImageFont.load_default(int(rng.integers(14, 73)))
    left, top, right, bottom = map(int, font.getbbox(word))
    margin = int(rng.integers(2, 9))
    light, dark = rng.integers(160, 256, 3), rng.integers(0, 96, 3)
    background, ink = (light, dark) if index % 3 else (dark, light)
    image = Image.new("RGB", (right - left + 2 * margin, bottom - top + 2 * margin), tuple(background.tolist()))
    ImageDraw.Draw(image).text((margin - left, margin - top), word, tuple(ink.tolist()), font)
    noisy = np.asarray(image) + rng.normal(0, 10, (image.height, image.width, 3))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG" if index % 4 else "PNG", quality=90)
    return file.getvalue()


def _exit_at_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _list_sources(plan: Plan) -> list[Source]:
    if plan.data is None:
        return [partial(open_image, draw_word(index)) for index in plan.indices]
    dataset = open_labeled(plan.data)
    return [partial(dataset.image, index) for index in plan.indices]


def _time_steps(steps: Sequence[Callable[[Any], Any]], value: Any) -> list[float]:
    """Run the steps in a chain. Returns the time, in seconds, at the beginning and after each step."""
    marks = [time.perf_counter()]
    for step in steps:
        value = step(value)
        marks.append(time.perf_counter())
    return marks
