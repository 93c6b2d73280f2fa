"""How fast both training stages run on one GPU, and what share of its arithmetic they use: docs/gpu.md.

    PYTHONPATH=. python research/gpu/throughput.py --out runs/gpu-throughput
    PYTHONPATH=. python research/gpu/throughput.py --out runs/gpu-throughput --dry      # tiny, on the CPU

Of each case (``fast``: recipes/gpu; ``paper``: recipes/paper-*) a training step of each stage is timed, in bfloat16
autocast, without and with ``torch.compile``: forward, backward, clipping, fused AdamW, and the loss read each step, as
``dptr.training.trainer`` does. Batches lie on the device before: neither loading nor, in stage 1, the frozen text
encoder is in the times; random numbers stand for pixels and text tokens.

Model FLOPs utilization (Chowdhery et al. 2022, PaLM, appendix B): FLOPs of a step's forward and backward pass, as
``torch.utils.flop_counter`` counts them (a multiply-add is 2; products of matrices, convolutions, attention), by the
step's median time, over the device's peak in dense bfloat16.

Written to --out, 8 files at most: throughput.json, throughput.md, profile.txt (kernels by time), and of the first case
a trace for each stage and way (for ui.perfetto.dev).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dptr.bench.stages import count_flops
from dptr.config.load import load_recipe
from dptr.config.model import DecoderModelConfig, ModelConfig
from dptr.config.train import FinetuneRecipe, OptimConfig, PretrainRecipe
from dptr.models.decoders import Decoder
from dptr.models.recognizer import Recognizer, build_decoder, build_recognizer
from dptr.text.charset import resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.training.optimizer import make_optimizer
from dptr.utils.errors import UserError
from dptr.utils.files import write_json

ROOT = Path(__file__).resolve().parents[2]
CASES = {  # recipes of stage 1 and 2, settings that a stage 2 recipe gets from its checkpoints, tokens of stage 1
    "fast": (
        "research/recipes/gpu/pretrain-en.toml",
        "research/recipes/gpu/finetune-en.toml",
        ["model.encoder.size=micro"],
        26,
    ),
    "paper": ("recipes/paper-pretrain.toml", "recipes/paper-finetune.toml", [], 78),
}
# Dense bfloat16 TFLOP/s, from NVIDIA's data sheets (those with sparsity are twice as high).
PEAKS = {"H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "H200": 989, "A100": 312, "L40S": 362}
BATCHES = 4  # different ones, in turn
WARM = 5  # steps before the clock starts, where compiling happens
FEWEST = 10  # steps that are timed
PROFILED = 3  # steps in a trace

Step = Callable[[int], float]  # number of the step -> its loss


@dataclass(frozen=True)
class Row:
    """A stage, one way: what a step took.

    Attributes:
        samples_per_second: words or crops.
        step_ms: median.
        teraflops: a second, of the forward and backward pass.
        utilization: share of the peak, 0 to 1.
        peak_gib: the most device memory that tensors held; None on a CPU.
        warm_seconds: the steps before, with compiling.
    """

    case: str
    stage: int
    way: str
    batch: int
    parameters: int
    samples_per_second: float
    step_ms: float
    teraflops: float
    utilization: float
    peak_gib: float | None
    warm_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seconds", type=float, default=10.0, help="that each of a case's four rows is timed")
    parser.add_argument("--limit", type=float, default=420.0, help="seconds after which no further row is begun")
    parser.add_argument("--batch", type=int, default=0, help="0 = the recipe's")
    parser.add_argument("--peak", type=float, help="the device's dense bfloat16 TFLOP/s")
    parser.add_argument("--dry", action="store_true", help="on the CPU, tiny; its numbers mean nothing")
    options = parser.parse_args()
    try:
        measure(options)
    except UserError as error:
        sys.exit(f"throughput: {error}")


def measure(options: argparse.Namespace) -> None:
    """All rows; files are written anew after each, so that what was measured is there whatever comes later.

    Raises:
        UserError: no GPU, or one whose peak is not known.
    """
    if not options.dry and not torch.cuda.is_available():
        raise UserError("torch sees no GPU here; run it where there is one, or pass --dry")
    device = torch.device("cpu" if options.dry else "cuda")
    name = "cpu" if options.dry else torch.cuda.get_device_name()
    peak = options.peak or (1.0 if options.dry else known_peak(name))
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    failed: list[str] = []
    profiles: list[str] = []
    began = time.perf_counter()
    for way in ("eager", "compile"):
        for case in options.cases:
            for stage in (1, 2):
                title = f"{case}, stage {stage}, {way}"
                if time.perf_counter() - began > options.limit:
                    failed.append(f"{title}: left out, for {options.limit:.0f} s were over; pass --limit or --cases")
                    continue
                trace = options.out / f"stage{stage}-{way}.json.gz" if case == options.cases[0] else None
                try:
                    row, profile = timed(case, stage, way, device, peak, options, trace)
                except Exception as error:  # compiling breaks in many ways; the other rows still count
                    if way == "eager":
                        raise
                    failed.append(f"{title}: {type(error).__name__}: {str(error).splitlines()[0]}")
                    continue
                rows.append(row)
                profiles += [title, profile] if profile else []
                report = {
                    "device": name, "torch": torch.__version__, "peak_teraflops": peak, "dry": options.dry,
                    "rows": [asdict(each) for each in rows], "failed": failed,
                }  # fmt: skip
                write_json(options.out / "throughput.json", report)
                (options.out / "throughput.md").write_text("\n".join(lines(report)) + "\n")
                (options.out / "profile.txt").write_text("\n".join(profiles) + "\n")
                print(f"{title}: {row.samples_per_second:,.0f} a second", flush=True)
    print("\n".join(lines(report)))


def known_peak(name: str) -> float:
    """Dense bfloat16 TFLOP/s of a GPU.

    Raises:
        UserError: it is not in the table.
    """
    for key, peak in PEAKS.items():
        if key in name:
            return peak
    raise UserError(
        f"GPU '{name}': its peak is not known here ({', '.join(PEAKS)}); pass --peak with the dense bfloat16 TFLOP/s "
        "of its data sheet"
    )


def timed(
    case: str, stage: int, way: str, device: torch.device, peak: float, options: argparse.Namespace, trace: Path | None
) -> tuple[Row, str]:
    """A row, and the kernels by time where there is a trace."""
    model, step, batch, flops = prepared(case, stage, way, device, options)
    begin = time.perf_counter()
    for number in range(WARM):
        step(number)
    warm = time.perf_counter() - begin
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds: list[float] = []
    while len(seconds) < FEWEST or (sum(seconds) < options.seconds and not options.dry):
        begin = time.perf_counter()
        step(WARM + len(seconds))  # reads the loss, so the device has ended what came before it
        seconds.append(time.perf_counter() - begin)
    profile = "" if trace is None else traced(step, trace, device)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    median = statistics.median(seconds)
    parameters = sum(each.numel() for each in model.parameters())
    mean = sum(seconds) / len(seconds)
    teraflops = flops / median / 1e12
    row = Row(
        case, stage, way, batch, parameters, batch / mean, 1000 * median, teraflops, teraflops / peak, memory, warm
    )
    return row, profile


def prepared(
    case: str, stage: int, way: str, device: torch.device, options: argparse.Namespace
) -> tuple[nn.Module, Step, int, int]:
    """The model, one training step of it, the batch size, and the FLOPs of a step's forward and backward pass."""
    first, second, brought, tokens = CASES[case]
    recipe: PretrainRecipe | FinetuneRecipe
    recipe = load_recipe(PretrainRecipe, ROOT / first) if stage == 1 else load_recipe(
        FinetuneRecipe, ROOT / second, brought
    )  # fmt: skip
    batch = options.batch or (4 if options.dry else recipe.run.batch_size)
    config = tiny(recipe.model) if options.dry else recipe.model
    charset = resolve_charset(config.charset)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built: Decoder | Recognizer = (
            build_recognizer(config, len(charset))
            if isinstance(config, ModelConfig)
            else build_decoder(config, len(charset))
        )
    model = built.to(device).train()
    targets = drawn_targets(Tokenizer(charset, config.max_length), batch).to(device)
    generator = torch.Generator(device="cpu").manual_seed(0)
    shape: tuple[int, ...] = (tokens, config.decoder.dim)
    if isinstance(config, ModelConfig):
        shape = (3, config.encoder.height, config.encoder.width)
    inputs = torch.randn(BATCHES, batch, *shape, generator=generator).to(device)
    mask = torch.ones(batch, tokens, dtype=torch.bool, device=device)

    def loss_of(seen: Tensor, wanted: Tensor) -> Tensor:
        if isinstance(model, Decoder):
            return model.loss(seen, mask, wanted, generator)
        return model.loss(seen, wanted, generator)

    def counted(number: int) -> None:
        loss_of(inputs[number], targets[number]).backward()

    with sdpa_kernel(SDPBackend.MATH):  # the counter knows not all fused attentions of a CPU
        _, flops = count_flops(counted, 0)
    compute = torch.compile(loss_of) if way == "compile" else loss_of
    return model, training_step(model, compute, recipe.optim, inputs, targets), batch, flops


def training_step(
    model: nn.Module, compute: Callable[[Tensor, Tensor], Tensor], optim: OptimConfig, inputs: Tensor, targets: Tensor
) -> Step:
    """Forward to update, on the batches in turn."""
    optimizer = make_optimizer([(model, 1.0)], optim, fused=True)
    kind = inputs.device.type

    def step(number: int) -> float:
        place = number % BATCHES
        optimizer.zero_grad()
        with torch.autocast(kind, torch.bfloat16):
            loss = compute(inputs[place], targets[place])
        value = loss.item()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), optim.grad_clip).item()
        optimizer.step()
        return value

    return step


def tiny(config: DecoderModelConfig) -> DecoderModelConfig:
    """The same kinds of parts, as small as they come."""
    decoder = config.decoder.model_copy(update={"dim": 16, "depth": 1, "heads": 2})
    if not isinstance(config, ModelConfig):
        return config.model_copy(update={"decoder": decoder})
    encoder = config.encoder.model_copy(update={"size": "tiny" if config.encoder.kind == "vit" else "nano"})
    fmu = config.fmu.model_copy(update={"heads": 2})
    return config.model_copy(update={"encoder": encoder, "decoder": decoder, "fmu": fmu})


def drawn_targets(tokenizer: Tokenizer, batch: int) -> Tensor:
    """Random words of 1 to 15 characters, 5.2 on average, as rows of symbols: (``BATCHES``, batch, t)."""
    rng = np.random.default_rng(0)
    characters = tokenizer.charset.characters
    lengths = 1 + rng.binomial(14, 0.3, BATCHES * batch)
    words = ["".join(rng.choice(characters, length)) for length in lengths]
    return torch.from_numpy(tokenizer.encode(words)).view(BATCHES, batch, -1)


def traced(step: Step, path: Path, device: torch.device) -> str:
    """Write a trace of ``PROFILED`` steps; the kernels that took most time, as a table."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for number in range(PROFILED):
            step(number)
    profiler.export_chrome_trace(str(path))
    order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return profiler.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60)


def lines(report: dict[str, Any]) -> list[str]:
    """A table in Markdown, and the gain by compiling."""
    told = [
        f"{report['device']}, torch {report['torch']}, bfloat16, peak {report['peak_teraflops']:g} TFLOP/s"
        + (" (a dry run: no numbers)" if report["dry"] else ""),
        "",
        "| case | stage | way | batch | parameters | samples/s | ms a step | TFLOP/s | MFU | GiB | s to warm up |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in report["rows"]:
        memory = "-" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}"
        told.append(
            f"| {row['case']} | {row['stage']} | {row['way']} | {row['batch']} | {row['parameters']:,} "
            f"| {row['samples_per_second']:,.0f} | {row['step_ms']:.1f} | {row['teraflops']:.2f} "
            f"| {row['utilization']:.1%} | {memory} | {row['warm_seconds']:.0f} |"
        )
    told.append("")
    times = {(row["case"], row["stage"], row["way"]): row["step_ms"] for row in report["rows"]}
    for (case, stage, way), milliseconds in times.items():
        if way == "compile":
            gain = times[case, stage, "eager"] / milliseconds
            told.append(f"torch.compile, {case}, stage {stage}: {gain:.2f} times as fast")
    return [*told, *(f"not measured: {failure}" for failure in report["failed"])]


if __name__ == "__main__":
    main()
