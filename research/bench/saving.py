"""How long a training step waits for its state to be saved: written at once, and in the background.

    python research/bench/saving.py
    python research/bench/saving.py --model dptr-en-small --out /a/slow/disk

Steps of a recognizer on random crops, each --every-th with a save, the two ways in turns in one run. Printed are
medians by the clock: of a step without a save, of one with it, and of the step after.
Then the processor time of the copy and of the writing.
"""

from __future__ import annotations

import argparse
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
from dptr.training.state import copy_state, write_state
from dptr.training.trainer import Trainer, step_generator

WAYS = ("at once", "in the background")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--saves", type=int, default=8, help="of each way")
    parser.add_argument("--every", type=int, default=4, help="steps from one save to the next, 3 at least")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "auto"))
    parser.add_argument("--out", help="a folder on the disk to write to; default: the temporary one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run = RunConfig(batch_size=options.batch, device=options.device, tensorboard=False)
    recipe = FinetuneRecipe(optim=OptimConfig(lr=1e-4, ema_decay=0.999))
    loaded = load_recognizer(options.model)
    accelerator = make_accelerator(run)
    task = StepTask(FinetuneObjective(loaded.model.train(), loaded.tokenizer, None), loaded.model.decoder, "crops")
    height, width = loaded.config.encoder.crop_size.height, loaded.config.encoder.crop_size.width
    words = ["scene", "text", "of", "STOP"] * (options.batch // 4)
    tensors = {
        "pixels": torch.rand(len(words), 3, height, width, device=accelerator.device) * 2 - 1,
        "targets": torch.from_numpy(loaded.tokenizer.encode(words)).to(accelerator.device),
    }
    plain: list[float] = []
    found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        trainer = Trainer(Path(folder), recipe, run, recipe.optim, accelerator, task)
        for number in range(2 * options.saves + 1):
            way = WAYS[number % 2]
            times = []
            for place in range(options.every):
                begun = time.perf_counter()
                with step_generator(0, trainer.progress.step) as drawn:
                    trainer.train_step(tensors, words, drawn)
                if place == 0:
                    trainer.save()
                    if way == WAYS[0]:
                        trainer.writer.wait()
                times.append(time.perf_counter() - begun)
            if number:  # the first is the warm-up
                found[way].append(times[:2])
                plain += times[2:]
            trainer.writer.wait()
        spent = [split(trainer) for _ in range(options.saves)]
        size = sum(path.stat().st_size for path in Path(folder, "state").rglob("*") if path.is_file())
    print(f"{options.model}, a state of {size / 1e6:.0f} MB; a step without a save {median(plain):.3f} s\n")
    print("| | a step with a save, s | most | the step after |\n|---|---:|---:|---:|")
    for way, rows in found.items():
        first, second = zip(*rows, strict=True)
        print(f"| {way} | {median(first):.3f} | {max(first):.3f} | {median(second):.3f} |")
    copied, written = (1000 * median(each) for each in zip(*spent, strict=True))
    print(
        f"\nprocessor ms: the copy, for which a step waits, {copied:.1f}; the writing, for which it did {written:.1f}"
    )


def split(trainer: Trainer) -> tuple[float, float]:
    """Processor seconds of the copy and of the writing of a state."""
    begun = time.process_time()
    state = copy_state(trainer.progress, trainer.module, trainer.optimizer, trainer.ema, None)
    copied = time.process_time()
    write_state(trainer.out, state)
    return copied - begun, time.process_time() - copied


if __name__ == "__main__":
    main()
