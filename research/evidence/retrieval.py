"""How near text tokens and image slots of a glyph encoder are: retrieval among 1,000 words, and a picture.

    DPTR_DATA=... python research/evidence/retrieval.py --glyph glyph-en --figure docs/assets/tokens.png

Retrieval: 1,000 crops of distinct words (under case folding); each crop looks for its word among the 1,000, and each
word for its crop, by the log-likelihood of the word's symbols in the crop's slots (that of the loss of alignment).
Rendered crops show words that the corpus holds out, in fonts that training does not see; real ones are the first of
each word in iiit5k/test and ic15/test.

The picture: tokens of some letters in the first slots, projected on the two directions in which their text tokens
differ most; crops are rendered and real ones.
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
SLOTS = 4  # of the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glyph", default="glyph-en")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("retrieval: DPTR_DATA is not set; set it to the folder that holds iiit5k and ic15")
    dual = load_glyph(GlyphDualConfig(model=options.glyph))
    index = {character: place + 1 for place, character in enumerate(dual.charset.characters)}
    shown = {"rendered": rendered(dual), "real": real(dual)}
    slots = {name: embed(dual, crops) for name, crops in shown.items()}
    print("| 1,000 crops | words found for crops | crops found for words |")
    print("|---|---:|---:|")
    for name, crops in shown.items():
        kept = distinct(crops)
        words = [crops.labels[row] for row in kept]
        likeness = likelihoods(dual, slots[name][kept], slot_symbols(words, index, dual.config.max_length))
        right = torch.arange(len(kept))
        found = [float((likeness.argmax(axis) == right).double().mean()) for axis in (1, 0)]
        print(f"| {name} | {' | '.join(f'{100 * share:.1f} %' for share in found)} |")
    for name, crops in shown.items():
        text, _ = dual.encode_text(crops.labels)
        letters = torch.arange(text.shape[1])[None] < torch.tensor([len(word) for word in crops.labels])[:, None]
        middle = dual.model.text.table().mean(1)
        near = F.cosine_similarity(slots[name] - middle, text - middle, dim=-1)[letters]
        print(f"{name}: cosine of a letter's slot and its own text token, less the mean token of the slot: median "
              f"{near.median():.2f}, a tenth lies below {near.quantile(0.1):.2f}")  # fmt: skip
        told = separable(slots[name][letters], text[letters])
        print(f"{name}: a linear rule tells slots from text tokens for {100 * told:.1f} % (50 = not at all)")
    if options.figure is not None:
        draw_figure(dual, shown, slots, options.figure)


def separable(slots: Float[Tensor, "n d"], text: Float[Tensor, "n d"], ridge: float = 1e-3) -> float:
    """Accuracy of a linear rule between the two, by ridge regression on the first half, on the second."""
    half = len(slots) // 2
    told = torch.cat((torch.ones(half), -torch.ones(half))).double()

    def design(one: Tensor, other: Tensor) -> Tensor:
        both = torch.cat((one, other)).double()
        return torch.cat((both, torch.ones(len(both), 1, dtype=torch.double)), 1)

    known = design(slots[:half], text[:half])
    weights = torch.linalg.solve(
        known.T @ known + ridge * len(known) * torch.eye(known.shape[1], dtype=torch.double), known.T @ told
    )
    asked = design(slots[half : 2 * half], text[half : 2 * half]) @ weights
    return float(((asked > 0) == (told > 0)).double().mean())


def rendered(dual: GlyphDual) -> LabeledCrops:
    """Held-out words in held-out fonts, more than are needed."""
    render, encoder = RenderConfig(font_split="train"), dual.config.encoder
    _, unseen, _ = rendered_words(CorpusConfig(), render, encoder, dual.charset, dual.config.max_length, 0, "")
    return draw(unseen(), 3 * WORDS)


def real(dual: GlyphDual) -> LabeledCrops:
    """Real test crops."""
    paths = [Path(os.environ["DPTR_DATA"]) / name for name in SETS]
    return load_crops(paths, dual.charset, dual.config.max_length, dual.config.encoder.crop_size)


def distinct(crops: LabeledCrops) -> list[int]:
    """Rows of the first crop of each word, as many as are needed, in a seeded order."""
    rows: dict[str, int] = {}
    for row in np.random.default_rng(0).permutation(len(crops)).tolist():
        rows.setdefault(crops.labels[row].lower(), row)
    if len(rows) < WORDS:
        sys.exit(f"retrieval: {len(rows)} distinct words of {len(crops)} crops; {WORDS} are needed")
    return list(rows.values())[:WORDS]


def embed(dual: GlyphDual, crops: LabeledCrops) -> Float[Tensor, "n s d"]:
    """Slots of all crops."""
    return torch.cat([dual.encode_image(to_pixels(some)) for _, some in crops.batches()])


def likelihoods(dual: GlyphDual, slots: Float[Tensor, "n s d"], symbols: Int[Tensor, "m s"]) -> Float[Tensor, "n m"]:
    """Log-likelihood of every word for every crop, by the slots' symbols."""
    logs = dual.model.slot_logits(slots).log_softmax(-1)
    places = torch.arange(symbols.shape[1])
    return torch.stack([logs[:, places, word].sum(1) for word in symbols], dim=1)


def draw_figure(
    dual: GlyphDual, shown: dict[str, LabeledCrops], slots: dict[str, Float[Tensor, "n s d"]], path: Path
) -> None:
    """One panel a slot: text tokens as letters, slots of crops that show them there as dots."""
    from matplotlib import pyplot

    index = {character: place + 1 for place, character in enumerate(dual.charset.characters)}
    figure, panels = pyplot.subplots(len(shown), SLOTS, figsize=(3 * SLOTS, 3 * len(shown)), squeeze=False)
    colors = pyplot.get_cmap("tab10")
    for column in range(SLOTS):
        text = dual.model.text.table()[column, [index[letter] for letter in LETTERS]]
        middle = text.mean(0)
        axes = torch.linalg.svd(text - middle, full_matrices=False).Vh[:2]
        placed = (text - middle) @ axes.T
        for panel, (name, crops) in zip(panels[:, column], shown.items(), strict=True):
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
