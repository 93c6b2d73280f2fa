"""What it costs to divide a training step among processes of one machine, in processor time and by the clock.

    python research/bench/processes.py
    taskset -c 0,1 python research/bench/processes.py --rounds 3     # on two cores that nothing else uses

Steps of ``dptr-en`` on random crops: gradient, clipping, AdamW; no data are read. Ways take turns, each a program of
its own. Processor seconds are those of all threads of all processes; on a busy machine they say more than the clock.

- 1 process, 1 or 2 threads;
- half a batch: what each of two processes has to compute, alone;
- 2 processes: the gradient put together by torch's DistributedDataParallel, as ``torchrun`` trains;
- 2 processes, sync: that with ``run.sync_batch_norm``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from steps import StepTask

from dptr.config.train import FinetuneRecipe, OptimConfig, RunConfig
from dptr.models.checkpoint import load_recognizer
from dptr.training.device import make_accelerator
from dptr.training.finetune import FinetuneObjective
from dptr.training.trainer import Trainer, step_generator

WARM_UP = 4
WAYS = {  # processes, threads of each, share of the batch, settings
    "1 process, 1 thread": (1, 1, 1.0, {}),
    "1 process, 2 threads": (1, 2, 1.0, {}),
    "1 process, 1 thread, half a batch": (1, 1, 0.5, {}),
    "2 processes": (2, 1, 1.0, {}),
    "2 processes, sync": (2, 1, 1.0, {"sync_batch_norm": True}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="that are timed, in each round")
    parser.add_argument("--batch", type=int, default=64, help="crops a step, over all processes")
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        work(options)
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way, (processes, threads, *_) in WAYS.items():
            several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
            command = [sys.executable, *several * (processes > 1), *sys.argv, "--way", way]
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
            found[way].append(json.loads(said.splitlines()[-1]))
            print(way, found[way][-1], file=sys.stderr)
    print(f"{options.model}, {options.batch} crops a step; medians of {options.rounds} rounds\n")
    print("| | crops a second | processor ms a crop |\n|---|---:|---:|")
    for way, rounds in found.items():
        crops, processor = (median(each[name] for each in rounds) for name in ("crops_per_second", "processor_ms"))
        print(f"| {way} | {crops:.0f} | {processor:.2f} |")


def work(options: argparse.Namespace) -> None:
    """One way, in one of its processes."""
    processes, threads, part, settings = WAYS[options.way]
    torch.set_num_threads(threads)
    size = round(options.batch * part)
    run = RunConfig(steps=1000, batch_size=size, device="cpu", tensorboard=False, **settings)  # type: ignore[arg-type]
    loaded = load_recognizer(options.model)
    accelerator = make_accelerator(run)
    task = StepTask(FinetuneObjective(loaded.model.train(), loaded.tokenizer, None), loaded.model.decoder, "crops")
    own = size // processes
    generator = torch.Generator().manual_seed(accelerator.process_index)
    words = ["scene", "text", "recognition", "of", "billion", "crops", "ten", "STOP"] * (own // 8 + 1)
    tensors = {
        "pixels": torch.rand(own, 3, 32, 128, generator=generator) * 2 - 1,
        "targets": torch.from_numpy(loaded.tokenizer.encode(words[:own])),
    }
    with tempfile.TemporaryDirectory() as folder:
        recipe = FinetuneRecipe(optim=OptimConfig(lr=1e-4))
        trainer = Trainer(Path(folder), recipe, run, recipe.optim, accelerator, task)
        for number in range(WARM_UP + options.steps):
            if number == WARM_UP:
                accelerator.wait_for_everyone()
                begun, spent = time.perf_counter(), time.process_time()
            with step_generator(0, number) as drawn:
                trainer.train_step(tensors, words[:own], drawn)
        taken = torch.tensor([time.perf_counter() - begun, time.process_time() - spent])
        seconds, processor = accelerator.reduce(taken, "sum").tolist()
    crops = options.steps * size
    if accelerator.is_main_process:
        found = {"crops_per_second": crops * processes / seconds, "processor_ms": 1000 * processor / crops}
        print(json.dumps(found))


if __name__ == "__main__":
    main()
