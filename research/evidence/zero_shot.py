"""Zero-shot reading with the image encoder and slots of a glyph dual encoder and a decoder from stage 1.

    DPTR_DATA=... python research/evidence/zero_shot.py --glyph glyph-en --decoder runs/decoder-en/model \\
        --out runs/zero-shot

Joins the parts without training, and reads the validation part of the real training crops (the fixed tenth that
``dptr finetune`` holds out), by data set. ``dptr eval --model runs/zero-shot`` evaluates other data.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dptr.config.load import load_recipe
from dptr.config.train import FinetuneRecipe
from dptr.data.crops import load_crops
from dptr.evaluation.accuracy import score_crops
from dptr.evaluation.metrics import validation_protocol
from dptr.inference.torch_backend import crop_probabilities
from dptr.models.checkpoint import save_checkpoint
from dptr.models.recognizer import Recognizer, build_recognizer
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer
from dptr.training.initialize import initialize
from dptr.training.resolve import resolve_finetune
from dptr.training.sources import split
from dptr.utils.escapes import dump_json
from dptr.utils.terminal import write_text

SETS = ("iiit5k/train", "ic15/train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glyph", required=True)
    parser.add_argument("--decoder", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="a file for the scores")
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("zero_shot: DPTR_DATA is not set; set it to the folder that holds iiit5k and ic15")
    model, charset, recipe = join_parts(options.glyph, options.decoder, options.out)
    encoder, length = recipe.model.encoder, recipe.model.max_length
    paths = [Path(os.environ["DPTR_DATA"]) / name for name in SETS]
    every = load_crops(paths, charset, length, encoder.crop_size)
    _, crops = split(every, 0.1, "order")
    tokenizer, protocol = Tokenizer(charset, length), validation_protocol(charset)
    recognize = partial(crop_probabilities, model, device=torch.device("cpu"))
    results = {}
    for number, name in enumerate(SETS):
        part = crops.choose(np.flatnonzero(np.array(crops.sources) == number))
        with torch.no_grad():
            scores = score_crops(part, tokenizer, recognize, protocol)
        results[name] = {"crops": len(part), **scores}
        text = ", ".join(f"{key} {100 * value:.1f} %" for key, value in scores.items())
        print(f"{name}, validation part: {len(part)} crops, protocol {protocol}: {text}")
    if options.json:
        write_text(options.json, dump_json(results, indent=1) + "\n")


def join_parts(glyph: str | Path, decoder: str | Path | None, out: Path) -> tuple[Recognizer, Charset, FinetuneRecipe]:
    """Write the recognizer that fine-tuning starts from. Without ``decoder``, a decoder is initialized with seed 0."""
    parts = [f"init.glyph={glyph}", *([f"init.decoder={decoder}"] if decoder else []), "data.rendered=1"]
    resolved = resolve_finetune(load_recipe(FinetuneRecipe, None, parts))
    recipe, charset = resolved.recipe, resolved.charset
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_recognizer(recipe.model, len(charset)).eval()
    for line in initialize(model, resolved):
        print(line)
    save_checkpoint(out, "recognizer", model, recipe.model, charset, {}, {"name": out.name})
    return model, charset, recipe


if __name__ == "__main__":
    main()
