"""Measure whether each query of the Feature Merge Unit attends to its character, on rendered words.

    python research/evidence/attention_maps.py --model dptr-en --picture docs/assets/attention.png

The renderer knows the position of each letter. Words and fonts are held out. Letters without a horizontal position (in
words turned by 90 degrees) are left out and counted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dptr.config.render import CorpusConfig, RenderConfig
from dptr.data.augment import to_pixels
from dptr.data.sources import Sample
from dptr.models.checkpoint import load_recognizer
from dptr.models.recognizer import Recognizer
from dptr.synth import FontIndex, Renderer, find_fonts
from dptr.synth.source import RenderedWords
from dptr.text.corpus import Corpus

SHOWN = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--words", type=int, default=1000)
    parser.add_argument("--picture", type=Path, required=True)
    options = parser.parse_args()
    loaded = load_recognizer(options.model)
    size = loaded.config.encoder.crop_size.model_copy(update={"max_width": 0, "sizes": ()})
    renderer = Renderer(RenderConfig(), 5, FontIndex(find_fonts(), "heldout"), size)
    corpus = Corpus(CorpusConfig(), loaded.tokenizer.charset, loaded.tokenizer.max_length, 5, "heldout")
    source = RenderedWords(corpus, renderer)
    samples = [source.sample(index) for index in range(options.words)]
    shares = torch.cat(
        [attention_by_column(loaded.model.eval(), samples[row : row + 100]) for row in range(0, len(samples), 100)]
    )
    inside, chance, hits, middle, left_out = [], [], [], [], 0
    for (_, word, stops), share in zip(samples, shares.numpy(), strict=True):
        columns = (np.arange(share.shape[1]) + 0.5) / share.shape[1]
        for place in range(len(word)):
            if np.isnan(stops[place]).any():
                left_out += 1
                continue
            low, high = sorted(stops[place])
            near = np.abs(columns - (low + high) / 2) <= max((high - low) / 2, 0.5 / share.shape[1])
            inside.append(share[place, near].sum())
            chance.append(near.mean())
            best = columns[share[place].argmax()]
            hits.append(near[share[place].argmax()])
            middle.append(abs(best - (low + high) / 2) / max(high - low, 1e-3))
    print(f"{len(inside):,} letters of {len(samples):,} words ({left_out} of unknown place left out)")
    print(f"of a query's attention {np.mean(inside):.1%} lies on its own letter ({np.mean(chance):.1%} by chance)")
    print(
        f"its strongest column is one of them for {np.mean(hits):.1%}, {np.median(middle):.2f} letters off the middle"
    )
    draw(samples[:SHOWN], shares[:SHOWN].numpy(), options.picture)


@torch.no_grad()
def attention_by_column(model: Recognizer, samples: list[Sample]) -> Float[torch.Tensor, "b q w"]:
    """The fraction of each query's attention on each column of the encoder's output."""
    assert model.fmu is not None
    tokens, grid = model.encoder.with_grid(to_pixels(np.stack([crop for crop, _, _ in samples])))
    if model.fmu.counter is not None:
        tokens = model.fmu.add_running_count(tokens, model.fmu.density(tokens, grid), grid)
    return model.fmu.attention(tokens, grid)


def draw(samples: list[Sample], shares: np.ndarray, path: Path) -> None:
    """Draw each crop above the attention of its queries: a row for each letter, and one for the end."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, len(samples), figsize=(2.3 * len(samples), 3.6), height_ratios=(1, 2.6))
    for column, ((crop, word, _), share) in enumerate(zip(samples, shares, strict=True)):
        above, below = panels[:, column]
        above.imshow(crop, aspect="auto")
        rows = len(word) + 1
        below.imshow(share[:rows], aspect="auto", cmap="magma", interpolation="nearest")
        below.set_yticks(range(rows), [*word, "end"], fontsize=7)
        for panel in (above, below):
            panel.set_xticks([])
        above.set_yticks([])
    figure.tight_layout()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
