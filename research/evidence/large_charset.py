"""Measure accuracy and time of a loss over sampled classes with thousands of characters, in stage 1 on text tokens.

    python research/evidence/large_charset.py --language zh --out runs/large-charset

The dual encoder is an untrained glyph encoder, whose text side is a random vector for each character, so that only
spelling is learned. The decoder is PARSeq of width 128 and depth 1 with two permutations, without ORP. All losses train
with the same words: first for the same number of steps, then the sampled losses for as many steps as fit into the
processor time of the full loss. Steps of the losses are timed alternately, in processor time of one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from dptr.config.decoders import PARSeqConfig
from dptr.config.model import DecoderModelConfig, GlyphConfig, GlyphDualConfig, SVTRConfig
from dptr.config.train import OptimConfig, ORPConfig, PretrainRecipe, RunConfig
from dptr.dual.glyph.model import GlyphModel, save_glyph
from dptr.models.recognizer import build_decoder
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.tokenizer import Tokenizer
from dptr.training.pretrain import pretrain
from dptr.training.resolve import resolve_pretrain
from dptr.utils.files import read_json

LENGTH, DIM, BATCH, TIMED = 25, 128, 64, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", default="zh")
    parser.add_argument(
        "--negatives",
        type=int,
        nargs="+",
        default=[0, 1024, 256],
        help="sampled classes, 0 = all; the others are compared with the first",
    )
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    charset = resolve_charset(options.language)
    torch.manual_seed(options.seed)
    glyph = GlyphConfig(dim=DIM, encoder=SVTRConfig(size="nano"), charset=options.language, max_length=LENGTH)
    dual = options.out / "dual"
    if not dual.exists():
        save_glyph(dual, GlyphModel(glyph, len(charset)), charset, glyph, {"name": "untrained"})
    recipes = {count: recipe_of(options, dual, count, options.steps) for count in options.negatives}
    seconds = step_seconds(recipes)
    print(f"{len(charset):,} characters, batches of {BATCH}, seed {options.seed}")
    first = seconds[options.negatives[0]]
    for count, recipe in recipes.items():
        spent = seconds[count]
        for steps in dict.fromkeys((options.steps, round(options.steps * first / spent))):
            out = options.out / f"negatives-{count}-{steps}"
            longer = recipe.model_copy(update={"run": recipe.run.model_copy(update={"steps": steps})})
            if not (out / "model").exists():
                pretrain(longer, out)
            results = read_json(out / "model" / "card.json", "card")["results"]
            read = ", ".join(f"{each['data']} {each['word_accuracy']:.1%}" for each in results)
            print(f"negatives {count}: {1000 * spent:.0f} ms a step, {steps} steps: {read}", flush=True)


def recipe_of(options: argparse.Namespace, dual: Path, negatives: int, steps: int) -> PretrainRecipe:
    decoder = PARSeqConfig(dim=DIM, depth=1, permutations=2, dropout=0.0, negatives=negatives)
    return PretrainRecipe(
        run=RunConfig(
            seed=options.seed, steps=steps, batch_size=BATCH, save_every=10**6, validate_every=10**6, tensorboard=False
        ),
        optim=OptimConfig(lr=2e-3, weight_decay=0.0, grad_clip=5.0),
        model=DecoderModelConfig(decoder=decoder, charset=options.language, max_length=LENGTH),
        dual=GlyphDualConfig(model=str(dual)),
        orp=ORPConfig(strength=0.0),
    )


def step_seconds(recipes: dict[int, PretrainRecipe]) -> dict[int, float]:
    """Processor seconds of the fastest of ``TIMED`` steps (forward, backward, and update) with each loss."""
    steps = {}
    for count, recipe in recipes.items():
        resolved = resolve_pretrain(recipe)
        corpus = Corpus(resolved.recipe.corpus, resolved.charset, LENGTH, recipe.run.seed)
        tokenizer = Tokenizer(resolved.charset, LENGTH)
        words = [corpus.word(index) for index in range(BATCH)]
        targets = torch.from_numpy(tokenizer.encode(words))
        memory, mask = resolved.parts.dual.encode_text(words)
        decoder = build_decoder(resolved.recipe.model, len(resolved.charset)).train()
        optimizer = torch.optim.AdamW(decoder.parameters(), fused=True)
        steps[count] = (decoder, optimizer, memory, mask, targets)
    taken: dict[int, list[float]] = {count: [] for count in recipes}
    for _ in range(TIMED):
        for count, (decoder, optimizer, memory, mask, targets) in steps.items():
            start = time.process_time()
            with torch.autocast("cpu", torch.bfloat16):
                loss = decoder.loss(memory, mask, targets, torch.Generator().manual_seed(0))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            taken[count].append(time.process_time() - start)
    return {count: min(seconds) for count, seconds in taken.items()}


if __name__ == "__main__":
    main()
