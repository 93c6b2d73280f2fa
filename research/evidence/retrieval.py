"""Measure how close text tokens and image slots of a glyph encoder are, by retrieval among 1,000 words; draw them.

    DPTR_DATA=... python research/evidence/retrieval.py --glyph glyph-en --figure docs/assets/tokens.png

Retrieval uses 1,000 crops of distinct words (ignoring case). For each crop, the likeliest of the 1,000 words is
retrieved, and for each word the likeliest crop. The score is the log-likelihood of the word's symbols in the crop's
slots, as in the loss of alignment. Rendered crops show held-out words in held-out fonts. Real crops are the first of
each word in iiit5k/test and ic15/test.

The picture shows tokens of some letters in the first slots of rendered and real crops. It projects them on the two
directions in which the text tokens differ most.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dptr.config.model import GlyphDualConfig
from dptr.config.render import CorpusConfig, RenderConfig
from dptr.data.augment import to_pixels
from dptr.data.crops import LabeledCrops, load_crops
from dptr.dual.glyph.model import GlyphDual, load_glyph, slot_symbols
from dptr.training.sources import draw, rendered_words

SETS = ("iiit5k/test", "ic15/test")
WORDS = 1000
LETTERS = "aeinorst"
SLOTS = 4  # in the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glyph", default="glyph-en")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("retrieval: DPTR_DATA is not set; set it to the folder that holds iiit5k and ic15")
    dual = load_glyph(GlyphDualConfig(model=options.glyph))
    index = {character: place + 1 for place, character in enumerate(dual.charset.characters)}
    sets = {"rendered": rendered(dual), "real": real(dual)}
    slots = {name: embed(dual, crops) for name, crops in sets.items()}
    print("| 1,000 crops | words found for crops | crops found for words |")
    print("|---|---:|---:|")
    for name, crops in sets.items():
        rows = distinct(crops)
        words = [crops.labels[row] for row in rows]
        scores = likelihoods(dual, slots[name][rows], slot_symbols(words, index, dual.config.max_length))
        right = torch.arange(len(rows))
        accuracies = [float((scores.argmax(axis) == right).double().mean()) for axis in (1, 0)]
        print(f"| {name} | {' | '.join(f'{100 * accuracy:.1f} %' for accuracy in accuracies)} |")
    for name, crops in sets.items():
        text, _ = dual.encode_text(crops.labels)
        letters = torch.arange(text.shape[1])[None] < torch.tensor([len(word) for word in crops.labels])[:, None]
        middle = dual.model.text.table().mean(1)
        near = F.cosine_similarity(slots[name] - middle, text - middle, dim=-1)[letters]
        print(f"{name}: cosine of a letter's slot and its own text token, less the mean token of the slot: median "
              f"{near.median():.2f}, a tenth lies below {near.quantile(0.1):.2f}")  # fmt: skip
        accuracy = separable(slots[name][letters], text[letters])
        print(f"{name}: a linear rule tells slots from text tokens for {100 * accuracy:.1f} % (50 = not at all)")
    if options.figure is not None:
        draw_figure(dual, sets, slots, options.figure)


def separable(slots: Float[Tensor, "n d"], text: Float[Tensor, "n d"], ridge: float = 1e-3) -> float:
    """The accuracy, 0 to 1, of a linear classifier of slots and text tokens.

    It is fitted by ridge regression on the first half of the tokens, and evaluated on the second half.
    """
    half = len(slots) // 2
    targets = torch.cat((torch.ones(half), -torch.ones(half))).double()

    def design(one: Tensor, other: Tensor) -> Tensor:
        both = torch.cat((one, other)).double()
        return torch.cat((both, torch.ones(len(both), 1, dtype=torch.double)), 1)

    train = design(slots[:half], text[:half])
    weights = torch.linalg.solve(
        train.T @ train + ridge * len(train) * torch.eye(train.shape[1], dtype=torch.double), train.T @ targets
    )
    predictions = design(slots[half : 2 * half], text[half : 2 * half]) @ weights
    return float(((predictions > 0) == (targets > 0)).double().mean())


def rendered(dual: GlyphDual) -> LabeledCrops:
    """Render three times the needed number of held-out words in held-out fonts."""
    render, encoder = RenderConfig(font_split="train"), dual.config.encoder
    _, unseen, _ = rendered_words(CorpusConfig(), render, encoder, dual.charset, dual.config.max_length, 0, "")
    return draw(unseen(), 3 * WORDS)


def real(dual: GlyphDual) -> LabeledCrops:
    """Real test crops."""
    paths = [Path(os.environ["DPTR_DATA"]) / name for name in SETS]
    return load_crops(paths, dual.charset, dual.config.max_length, dual.config.encoder.crop_size)


def distinct(crops: LabeledCrops) -> list[int]:
    """Rows of the first crop of each of ``WORDS`` distinct words, in a seeded random order."""
    rows: dict[str, int] = {}
    for row in np.random.default_rng(0).permutation(len(crops)).tolist():
        rows.setdefault(crops.labels[row].lower(), row)
    if len(rows) < WORDS:
        sys.exit(f"retrieval: {len(rows)} distinct words of {len(crops)} crops; {WORDS} are needed")
    return list(rows.values())[:WORDS]


def embed(dual: GlyphDual, crops: LabeledCrops) -> Float[Tensor, "n s d"]:
    """The slots of all crops."""
    return torch.cat([dual.encode_image(to_pixels(some)) for _, some in crops.batches()])


def likelihoods(dual: GlyphDual, slots: Float[Tensor, "n s d"], symbols: Int[Tensor, "m s"]) -> Float[Tensor, "n m"]:
    """The log-likelihood of each word in the slots of each crop."""
    logs = dual.model.slot_logits(slots).log_softmax(-1)
    places = torch.arange(symbols.shape[1])
    return torch.stack([logs[:, places, word].sum(1) for word in symbols], dim=1)


def draw_figure(
    dual: GlyphDual, sets: dict[str, LabeledCrops], slots: dict[str, Float[Tensor, "n s d"]], path: Path
) -> None:
    """Draw a panel for each slot: text tokens as letters, and slots of crops with that letter there as dots."""
    from matplotlib import pyplot

    index = {character: place + 1 for place, character in enumerate(dual.charset.characters)}
    figure, panels = pyplot.subplots(len(sets), SLOTS, figsize=(3 * SLOTS, 3 * len(sets)), squeeze=False)
    colors = pyplot.get_cmap("tab10")
    for column in range(SLOTS):
        text = dual.model.text.table()[column, [index[letter] for letter in LETTERS]]
        middle = text.mean(0)
        axes = torch.linalg.svd(text - middle, full_matrices=False).Vh[:2]
        placed = (text - middle) @ axes.T
        for panel, (name, crops) in zip(panels[:, column], sets.items(), strict=True):
            symbols = slot_symbols(crops.labels, index, dual.config.max_length)[:, column]
            for number, letter in enumerate(LETTERS):
                dots = (slots[name][symbols == index[letter], column][:60] - middle) @ axes.T
                panel.scatter(*dots.T, s=6, color=colors(number), alpha=0.5, linewidths=0)
                panel.text(*placed[number].tolist(), letter, color="white", weight="bold", ha="center", va="center",
                           bbox={"boxstyle": "circle,pad=0.25", "color": colors(number)})  # fmt: skip
            panel.set(xticks=[], yticks=[], title=f"{name}, slot {column + 1}")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
