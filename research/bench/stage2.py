"""Crops a second of stage 2, whole training steps, ours over a plain published loop (tests/reference_loop.py).

    python research/bench/stage2.py
    python research/bench/stage2.py --size small --rounds 4

At DPTR's published size: a ViT 512 wide, of 12 layers, an FMU of 26 queries that does not count, PARSeq 512 wide, of 6
layers and 6 orders; random crops of 32 x 128 with words of the English corpus; no dropout in any way. A step is
encoder, FMU, decoder, gradient, clipping and AdamW. Ways take turns, all on --batch crops a step; each row adds one
thing to the row before:

- one pass: all orders in one pass, memory projected once, targets cut to the batch's longest word; float32;
- length buckets: words of --bucket batches sorted by length (data.bucket); eight batches of all lengths are timed;
- bf16: where the machine computes in it (run.precision=auto);
- in 2 parts, activations twice: run.gradient_accumulation_steps and run.activation_checkpointing, for
  memory's sake: what they cost.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from steps import (  # first: it finds reference_loop
    TIMED,
    StepTask,
    Way,
    options_of,
    spread,
    table,
    take_turns,
    words_of,
)
from torch import Tensor

import reference_loop  # isort: skip
from dptr.config.model import FMUConfig, ModelConfig, PARSeqConfig, ViTConfig
from dptr.config.train import CropRunConfig, FinetuneRecipe, OptimConfig
from dptr.data.loader import text_batch
from dptr.models.encoders.vit import SIZES
from dptr.models.recognizer import Recognizer, build_recognizer
from dptr.text.corpus import Corpus
from dptr.text.tokenizer import Tokenizer
from dptr.training.device import best_precision, make_accelerator
from dptr.training.finetune import FinetuneObjective
from dptr.training.trainer import Trainer, step_generator

LENGTH = 25


def main() -> None:
    parser = options_of(__doc__, 16, "crops a step, in all ways")
    parser.add_argument("--size", default="dptr", choices=sorted(SIZES), help="of the ViT; the decoder is as wide")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    corpus, tokenizer = words_of(LENGTH)
    dim, _, heads = SIZES[options.size]
    model = ModelConfig(
        encoder=ViTConfig(size=options.size),
        fmu=FMUConfig(count=False),
        decoder=PARSeqConfig(dim=dim, depth=6, heads=heads, dropout=0.0, permutations=6),
    )
    settings: list[tuple[str, int, dict[str, Any]]] = [
        ("ours, one pass", 1, {"precision": "no"}),
        ("+ length buckets", options.bucket, {"precision": "no"}),
        ("+ bf16", options.bucket, {}),
        ("+ in 2 parts", options.bucket, {"gradient_accumulation_steps": 2}),
        ("+ activations twice", options.bucket, {"gradient_accumulation_steps": 2, "activation_checkpointing": True}),
    ]
    if best_precision("cpu") == "no":  # this machine has no bf16 of its own
        del settings[2]
    with tempfile.TemporaryDirectory() as folder:
        ways = [Way("plain loop", plain_step(model, corpus, tokenizer, options.batch))]
        for name, pool, more in settings:
            run = CropRunConfig(steps=1000, batch_size=options.batch, device="cpu", tensorboard=False, **more)
            out = Path(tempfile.mkdtemp(dir=folder))
            ours = our_step(
                out, FinetuneRecipe(run=run, optim=OptimConfig(lr=1e-4), model=model), pool, corpus, tokenizer
            )
            ways.append(Way(name, ours, TIMED // options.rounds if pool > 1 else 1))
        take_turns(ways, options.rounds)
    size = sum(parameter.numel() for parameter in fresh(model).parameters()) / 1e6
    print(f"{size:.1f} M parameters, {options.batch} crops a step\n\n{table(ways, 'crops', 2)}")


def fresh(model: ModelConfig) -> Recognizer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_recognizer(model, 94)


def crops(count: int, number: int) -> Tensor:
    """Random pixels in [-1, 1]."""
    return torch.rand(count, 3, 32, 128, generator=torch.Generator().manual_seed(number)) * 2 - 1


def plain_step(config: ModelConfig, corpus: Corpus, tokenizer: Tokenizer, batch: int) -> Callable[[int], int]:
    model = fresh(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(number: int) -> int:
        targets = torch.from_numpy(tokenizer.encode(text_batch(corpus, batch, number, 1), full_length=True))
        orders = reference_loop.draw_orders(LENGTH, 6, torch.Generator().manual_seed(number))
        reference_loop.stage2_step(model, optimizer, crops(batch, number), targets, orders)
        return batch

    return step


def our_step(
    out: Path, recipe: FinetuneRecipe, pool: int, corpus: Corpus, tokenizer: Tokenizer
) -> Callable[[int], int]:
    """As ``dptr.training.finetune`` steps."""
    model, batch = fresh(recipe.model), recipe.run.batch_size
    accelerator = make_accelerator(recipe.run)
    task = StepTask(FinetuneObjective(model, tokenizer, None), model.decoder, "crops")
    trainer = Trainer(out, recipe, recipe.run, recipe.optim, accelerator, task)
    places = spread(corpus, batch, pool)

    def step(number: int) -> int:
        words = text_batch(corpus, batch, places[number], pool)
        tensors = {"pixels": crops(batch, number), "targets": torch.from_numpy(tokenizer.encode(words))}
        with step_generator(0, number) as generator:
            trainer.train_step(tensors, words, generator)
        return batch

    return step


if __name__ == "__main__":
    main()
