"""``dptr align``: train the glyph dual encoder on rendered words. No photograph and no human label is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dptr.config import AlignRecipe
from dptr.data.stream import Rendered, batches
from dptr.data.synth import FontIndex, Renderer, find_fonts
from dptr.data.transforms import to_pixels
from dptr.dual.glyph import GlyphModel, alignment_loss, build_glyph, save_glyph, slot_symbols
from dptr.text.corpus import Corpus
from dptr.train import loop

VALIDATION = 512  # rendered held-out words


class _Objective(nn.Module):
    def __init__(self, model: GlyphModel, recipe: AlignRecipe):
        super().__init__()
        self.model = model
        self.weights = (recipe.ctc, recipe.cosine, recipe.padding)

    def forward(
        self, pixels: Float[Tensor, "b 3 h w"], symbols: Int[Tensor, "b s"]
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        return alignment_loss(self.model, pixels, symbols, *self.weights)


def align(recipe: AlignRecipe, out: Path, resume: bool = False) -> Path:
    """Train and write ``out/model``, a glyph encoder folder.

    Validation reads rendered words that the corpus holds out, in fonts that are held out where ``render.font_split`` is
    ``train``; the best state is kept.

    Returns:
        The folder of the best model.

    Raises:
        UserError: see ``loop.check_out``, ``Corpus``, ``Renderer``; a loss that is not finite.
    """
    loop.check_out(out, recipe, resume)
    accelerator = loop.make_accelerator(recipe.run)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.run.seed)
        model, charset = build_glyph(recipe.glyph)
    index = {character: place + 1 for place, character in enumerate(charset.characters)}
    length = recipe.glyph.max_length
    size = {"height": recipe.glyph.encoder.height, "width": recipe.glyph.encoder.width}
    render = recipe.render.model_copy(update=size)
    fonts = find_fonts(render.fonts)
    source = Rendered(
        Corpus(recipe.corpus, charset, length, recipe.run.seed),
        Renderer(render, recipe.run.seed, FontIndex(fonts, render.font_split)),
    )
    unseen = FontIndex(fonts, "heldout" if render.font_split == "train" else render.font_split)
    validation = Rendered(Corpus(recipe.corpus, charset, length, 1, "heldout"), Renderer(render, 1, unseen))
    run = loop.start(
        out, recipe, recipe.run, recipe.optim, accelerator, _Objective(model, recipe), [(model, 1.0)], "crops"
    )
    run.log.say(source.corpus.describe())
    for reason, count in source.undrawable().items():
        run.log.say(f"words left out: {count} of 5,000, {reason}")
    stream = batches(
        source, recipe.run.batch, run.step, recipe.run.steps, recipe.run.workers,
        accelerator.process_index, accelerator.num_processes,
    )  # fmt: skip
    card = {
        "name": out.name,
        "kind": "dual encoder",
        "trained_on": ["rendered words"],
        "recipe": recipe.model_dump(mode="json"),
    }
    with loop.interruptible(run):
        for crops, words in stream:
            batch = {"pixels": to_pixels(crops), "symbols": slot_symbols(words, index, length)}
            batch = {name: tensor.to(run.device) for name, tensor in batch.items()}
            with loop.seeded(recipe.run.seed, run.step), accelerator.autocast():
                loss, parts = run.prepared(**batch)
            value = loop.advance(run, loss, batch, words)
            speed = run.log.progress(run.step, recipe.run.steps, recipe.run.batch, value)
            if loop.due(run, recipe.run.log_every):
                losses = {name: float(part) for name, part in parts.items()}
                run.log.write(run.step, {"loss": value, **losses, "crops_per_second": round(speed, 1)})
            if loop.due(run, recipe.run.validate_every):
                with loop.averaged(run):
                    scores = spelled(run.model.model, validation, index, length, VALIDATION, run.device)
                    if scores["word_accuracy"] > run.best.get("word_accuracy", -1):
                        run.best = scores
                        if accelerator.is_main_process:
                            results = [{"data": "rendered held-out words", "step": run.step, **scores}]
                            save_glyph(out / "model", model, charset, recipe.glyph, {**card, "results": results})
                run.log.write(run.step, {f"validation_{name}": score for name, score in scores.items()})
                run.log.say(f"step {run.step}: slots spell {scores['word_accuracy']:.1%} of held-out rendered words")
            loop.end_of_step(run)
    run.log.close()
    return out / "model"


def spelled(
    model: GlyphModel, source: Rendered, index: dict[str, int], max_length: int, count: int, device: torch.device
) -> dict[str, float]:
    """How many crops' slots are nearest to their own word's text tokens, all slots up to EOS, and how many slots are."""
    right, slots_right, slots_all = 0, 0, 0
    for start in range(0, count, 128):
        samples = [source.sample(place) for place in range(start, min(start + 128, count))]
        symbols = slot_symbols([word for _, word in samples], index, max_length)
        pixels = to_pixels(np.stack([crop for crop, _ in samples]))
        guessed = model.slot_logits(model.image_tokens(pixels.to(device))[1]).argmax(-1).cpu()
        counted = symbols <= len(index)
        hits = (guessed == symbols) | ~counted
        right += int(hits.all(1).sum())
        slots_right += int((hits & counted).sum())
        slots_all += int(counted.sum())
    return {"word_accuracy": right / count, "slot_accuracy": slots_right / slots_all}
