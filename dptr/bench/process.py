"""What one process of ``dptr bench`` does: it opens a recognizer, reads crops round after round, and times them."""

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

WARM_UP = 3  # rounds of each batch size before the clock starts

_WORDS = (
    *("A", "42", "bus", "EXIT", "Hotel", "street", "Welcome", "pharmacy", "Chocolate", "restaurant"),
    *("electricity", "Photographer", "12.50", "OPEN", "international", "www.example.org"),
)


@dataclass(frozen=True)
class Plan:
    """What one process does.

    Attributes:
        backend: what computes.
        model: as ``open_staged`` takes it.
        data: labeled crops; None = drawn ones.
        indices: of the crops that are read.
        batches: crops a round.
        repeats: rounds of each batch size that are timed; 0 = read one crop and end.
        threads: of the backend.
        started: when the process was started, by ``time.monotonic``, which processes of a machine share.
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
    """The rounds of one batch size. All times are milliseconds a crop: a round's, divided by its crops.

    Attributes:
        batch: crops a round.
        median_ms, p95_ms: from the bytes of the files to text, by the clock on the wall.
        cpu_ms: median of the processor time of all threads.
        crops_per_second: all crops by all seconds.
        whole_ms: mean of the middle half of the rounds, in order of their time.
        stages_ms: the mean of the same rounds by step; together ``whole_ms``.
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
    """What one process found.

    Attributes:
        backend: what computed.
        version: of torch or onnxruntime.
        start_seconds: from the start of the process to its first word, without the time to draw or find the crops.
        peak_mib: the most memory that was resident, in MiB; None where the system does not tell.
        parameters: of the model; None with ``onnx``.
        flops: of one crop in ``encoder`` (with the FMU) and ``decoder``, mean over the crops; None with ``onnx``.
        timings: one a batch size.
    """

    backend: BackendName
    version: str
    start_seconds: float
    peak_mib: float | None
    parameters: int | None
    flops: dict[str, int] | None
    timings: list[Timing]


def measure(plan: Plan) -> Measurement:
    """Carry out a plan in this process, which should be new.

    Raises:
        UserError: the model or a crop cannot be opened.
    """
    begin = time.monotonic()
    sources = _sources(plan)
    aside = time.monotonic() - begin
    staged = open_staged(plan.backend, plan.model, plan.threads)
    steps = tuple(staged.steps.values())
    _marks(steps, sources[:1])
    started = time.monotonic() - plan.started - aside
    if not plan.repeats:
        return Measurement(plan.backend, staged.version, started, None, None, None, [])
    supplies = {batch: cycle(sources) for batch in plan.batches}
    marks: dict[int, list[list[float]]] = {batch: [] for batch in plan.batches}
    cpu: dict[int, list[float]] = {batch: [] for batch in plan.batches}
    for _ in range(WARM_UP + plan.repeats):
        for batch, supply in supplies.items():
            crops = list(islice(supply, batch))
            before = time.process_time()
            marks[batch].append(_marks(steps, crops))
            cpu[batch].append(time.process_time() - before)
    timings = [
        summarize(batch, tuple(staged.steps), np.array(marks[batch][WARM_UP:]), np.array(cpu[batch][WARM_UP:]))
        for batch in plan.batches
    ]
    peak = peak_mib()
    flops = mean_flops(staged, sources) if plan.backend == "torch" else None
    return Measurement(plan.backend, staged.version, started, peak, staged.parameters, flops, timings)


def answer(plan: str) -> None:
    """All that a process of its own does: ``measure`` a plan in JSON, and print what it found, or the ``error``.

    It ends when standard input does, that is with the process that started it, however that one ends.
    """
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        result = asdict(measure(Plan(**json.loads(plan))))
    except UserError as error:
        result = {"error": str(error)}
    print(json.dumps(result))


def summarize(
    batch: int, names: Sequence[str], marks: Float64[np.ndarray, "rounds marks"], cpu: Float64[np.ndarray, " rounds"]
) -> Timing:
    """Seconds of rounds to milliseconds a crop.

    Args:
        batch: crops a round.
        names: of the steps.
        marks: when each round began and when each of its steps ended, one mark more than names.
        cpu: processor time of each round.
    """
    whole = marks[:, -1] - marks[:, 0]
    cut = len(whole) // 4
    middle = np.argsort(whole, kind="stable")[cut : len(whole) - cut]
    a_crop = 1000 / batch
    median_ms, p95_ms = a_crop * np.percentile(whole, (50, 95))
    stages = a_crop * np.diff(marks[middle], axis=1).mean(0)
    return Timing(
        batch,
        float(median_ms),
        float(p95_ms),
        a_crop * float(np.median(cpu)),
        batch * len(whole) / float(whole.sum()),
        a_crop * float(whole[middle].mean()),
        dict(zip(names, stages.tolist(), strict=True)),
    )


def peak_mib() -> float | None:
    """The most memory that was resident in this process, in MiB; None where the system does not tell.

    Linux: ``VmHWM``. Its ``ru_maxrss`` begins at what the parent held before it started this program.
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
    """Draw a word in Pillow's own font on a noisy ground, as the bytes of a JPEG or, every fourth, a PNG file."""
    rng = np.random.default_rng(index)
    word, font = _WORDS[index % len(_WORDS)], ImageFont.load_default(int(rng.integers(14, 73)))
    left, top, right, bottom = map(int, font.getbbox(word))
    margin = int(rng.integers(2, 9))
    light, dark = rng.integers(160, 256, 3), rng.integers(0, 96, 3)
    ground, ink = (light, dark) if index % 3 else (dark, light)
    image = Image.new("RGB", (right - left + 2 * margin, bottom - top + 2 * margin), tuple(ground.tolist()))
    ImageDraw.Draw(image).text((margin - left, margin - top), word, tuple(ink.tolist()), font)
    noisy = np.asarray(image) + rng.normal(0, 10, (image.height, image.width, 3))
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG" if index % 4 else "PNG", quality=90)
    return file.getvalue()


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _sources(plan: Plan) -> list[Source]:
    if plan.data is None:
        return [partial(open_image, draw_word(index)) for index in plan.indices]
    dataset = open_labeled(plan.data)
    return [partial(dataset.image, index) for index in plan.indices]


def _marks(steps: Sequence[Callable[[Any], Any]], value: Any) -> list[float]:
    marks = [time.perf_counter()]
    for step in steps:
        value = step(value)
        marks.append(time.perf_counter())
    return marks
