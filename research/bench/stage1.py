"""Words a second of stage 1 at the size of the paper, ours over a plain published loop (tests/reference_loop.py).

    python research/bench/stage1.py
    python research/bench/stage1.py --rounds 2 --threads 1

A text tower as CLIP ViT-B/16's (512 wide, 12 layers, 77 positions), with random weights and byte pairs learned from
English words, for no weights are needed to measure; PARSeq 512 wide, of 6 layers and 6 orders; words of the English
corpus; no dropout and no ORP in any way. A step is tower, loss, gradient, clipping and AdamW. The plain loop
steps on 32 words, ours on --batch; speeds are of words. Ways take turns; each row adds one thing to the row before:

- one pass: all orders in one pass, memory projected once, targets cut to the batch's longest word; float32;
- trimmed tokens: the prompt's padding is no memory (another memory than the paper's);
- length buckets: words of --bucket batches sorted by length; eight batches of all lengths are timed (the recipe's
  default of 16 leaves 14 % padding, 64 leaves 3 %);
- bf16: where the machine computes in it (run.precision=auto);
- cache: text tokens on disk (dual.cache), all words there.
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

import reference_loop  # isort: skip
from helpers_clip import byte_symbols  # isort: skip
from dptr.config.model import ClipDualConfig, ModelConfig, PARSeqConfig
from dptr.config.train import OptimConfig, PretrainRecipe, RunConfig
from dptr.data.loader import text_batch
from dptr.dual.base import DualEncoder
from dptr.dual.clip.encoder import ClipDual
from dptr.dual.text_cache import CachedText
from dptr.models.decoders import Decoder
from dptr.models.recognizer import build_decoder
from dptr.text.corpus import Corpus
from dptr.text.tokenizer import Tokenizer
from dptr.training.device import best_precision, make_accelerator
from dptr.training.pretrain import PretrainObjective
from dptr.training.trainer import Trainer, step_generator

LENGTH, PLAIN_BATCH = 25, 32
MODEL = ModelConfig(decoder=PARSeqConfig(dim=512, depth=6, heads=8, dropout=0.0, permutations=6), max_length=LENGTH)


def main() -> None:
    options = options_of(__doc__, 64, "words a step of ours").parse_args()
    torch.set_num_threads(options.threads)
    corpus, tokenizer = words_of(LENGTH)
    with tempfile.TemporaryDirectory() as folder:
        towers = paper_clip(Path(folder))
        trimmed, paper = (ClipDual(*towers, "a photo of a '{}'", tokens, "random") for tokens in ("trimmed", "paper"))
        kept = CachedText(trimmed, ClipDualConfig(cache=f"{folder}/cache"))
        for number in spread(corpus, options.batch, options.bucket):
            kept.encode_text(text_batch(corpus, options.batch, number, options.bucket))
        settings: list[tuple[str, DualEncoder, int, str]] = [
            ("ours, one pass", paper, 1, "no"),
            ("+ trimmed tokens", trimmed, 1, "no"),
            ("+ length buckets", trimmed, options.bucket, "no"),
            ("+ bf16", trimmed, options.bucket, "auto"),
            ("+ cache", kept, options.bucket, "auto"),
        ]
        if best_precision("cpu") == "no":  # this machine has no bf16 of its own
            del settings[3]
        ways = [Way("plain loop", plain_step(paper, corpus, tokenizer))]
        for name, dual, pool, precision in settings:
            ours = our_step(Path(folder), dual, corpus, tokenizer, options.batch, pool, precision)
            ways.append(Way(name, ours, TIMED // options.rounds if pool > 1 else 1))
        take_turns(ways, options.rounds)
        size = sum(parameter.numel() for parameter in fresh().parameters()) / 1e6
        print(
            f"decoder of {size:.1f} M parameters; {PLAIN_BATCH} words a step in the plain loop, {options.batch} in ours"
        )
        print(f"\n{table(ways, 'words', 10)}")


def fresh() -> Decoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_decoder(MODEL, 94)


def plain_step(dual: ClipDual, corpus: Corpus, tokenizer: Tokenizer) -> Callable[[int], int]:
    decoder = fresh()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-4)

    def step(number: int) -> int:
        words = text_batch(corpus, PLAIN_BATCH, number, 1)
        targets = torch.from_numpy(tokenizer.encode(words, full_length=True))
        orders = reference_loop.draw_orders(LENGTH, 6, torch.Generator().manual_seed(number))
        reference_loop.stage1_step(dual, decoder, optimizer, words, targets, orders)
        return len(words)

    return step


def our_step(
    folder: Path, dual: DualEncoder, corpus: Corpus, tokenizer: Tokenizer, batch: int, pool: int, precision: Any
) -> Callable[[int], int]:
    """As ``dptr.training.pretrain`` steps."""
    run_config = RunConfig(steps=1000, batch_size=batch, device="cpu", precision=precision, tensorboard=False)
    recipe = PretrainRecipe(run=run_config, optim=OptimConfig(lr=1e-4), model=MODEL, bucket=pool)
    decoder = fresh()
    accelerator = make_accelerator(recipe.run)
    out = Path(tempfile.mkdtemp(dir=folder))
    task = StepTask(PretrainObjective(decoder), decoder, "words")
    trainer = Trainer(out, recipe, recipe.run, recipe.optim, accelerator, task)
    places = spread(corpus, batch, pool)

    def step(number: int) -> int:
        words = text_batch(corpus, batch, places[number], pool)
        with step_generator(0, number) as generator:
            memory, mask = dual.encode_text(words)
            tensors = {"memory": memory, "mask": mask, "targets": torch.from_numpy(tokenizer.encode(words))}
            trainer.train_step(tensors, words, generator)
        return len(words)

    return step


def paper_clip(folder: Path) -> tuple[Any, Any]:
    """A CLIP with ViT-B/16's text tower, random weights and the smallest image tower, and a tokenizer of its kind."""
    from tokenizers import Tokenizer as Pairs
    from tokenizers import models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    from wordfreq import top_n_list

    pairs = Pairs(models.BPE(end_of_word_suffix="</w>"))
    pairs.normalizer = normalizers.Lowercase()
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=20_000, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|startoftext|>", "<|endoftext|>"], show_progress=False,
    )  # fmt: skip
    pairs.train_from_iterator(["a photo of a '", *top_n_list("en", 50_000)], trainer)
    pairs.model.save(str(folder))
    merges: Any = [tuple(line.split()) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
    symbols = [*byte_symbols(), *(f"{symbol}</w>" for symbol in byte_symbols())]
    tokens = dict.fromkeys([*symbols, *map("".join, merges), "<|startoftext|>", "<|endoftext|>"])
    tokenizer = CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=merges)
    tower = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {**tower, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 77}
    vision = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=512))
    return model, tokenizer


if __name__ == "__main__":
    main()
