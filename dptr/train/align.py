"""``dptr align``: train the glyph dual encoder on rendered words. No photograph and no human label is used."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dptr.config import AlignRecipe, plain_render
from dptr.data.datasets import LabelledCrops
from dptr.data.stream import Ramp, batches
from dptr.data.transforms import to_pixels
from dptr.dual.glyph import GlyphModel, alignment_loss, build_glyph, save_glyph, slot_symbols
from dptr.train import loop
from dptr.train.crops import RENDERED_VALIDATION, draw, rendered_words


class _Objective(nn.Module):
    def __init__(self, model: GlyphModel, recipe: AlignRecipe):
        super().__init__()
        self.model = model
        self.recipe = recipe

    def forward(
        self, pixels: Float[Tensor, "b 3 h w"], symbols: Int[Tensor, "b s"], stops: Float[Tensor, "b l 2"]
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        return alignment_loss(self.model, pixels, symbols, stops, self.recipe)


def align(recipe: AlignRecipe, out: Path, resume: bool = False) -> Path:
    """Train and write ``out/model``, a glyph encoder folder.

    Validation reads rendered words that the corpus holds out, in fonts that are held out where ``render.font_split`` is
    ``train``; the best state, by words and then by slots, is kept.

    Returns:
        The folder of the best model.

    Raises:
        UserError: see ``loop.check_out``, ``Corpus``, ``Renderer``, ``loop.advance``.
    """
    loop.check_out(out, recipe, resume)
    accelerator = loop.make_accelerator(recipe.run)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        model, charset = build_glyph(recipe.glyph)
    index = {character: place + 1 for place, character in enumerate(charset.characters)}
    length = recipe.glyph.max_length
    source, unseen, notes = rendered_words(
        recipe.corpus, recipe.render, recipe.glyph.encoder, charset, length, recipe.run.seed, recipe.pack
    )
    if ramp := round(recipe.ramp * recipe.run.steps * recipe.run.batch):
        plain, _, _ = rendered_words(
            recipe.corpus, plain_render(recipe.render), recipe.glyph.encoder, charset, length, recipe.run.seed, ""
        )
        source = Ramp(plain, source, ramp)
    validation = draw(unseen, RENDERED_VALIDATION)
    run = loop.start(
        out, recipe, recipe.run, recipe.optim, accelerator, _Objective(model, recipe), [(model, 1.0)], "crops"
    )
    for line in notes:
        run.log.say(line)
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
    with loop.interruptible(run), closing(stream):
        for crops, words, stops in stream:
            batch = {"pixels": to_pixels(crops), "symbols": slot_symbols(words, index, length)}
            batch["stops"] = torch.from_numpy(stops)
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
                    scores = spelled(model, validation, index, length, run.device)
                    if tuple(scores.values()) > tuple(run.best.values()):
                        run.best = scores
                        if accelerator.is_main_process:
                            told = {"data": "rendered held-out words", "step": run.step, "n": len(validation)}
                            results = [{**told, **scores}]
                            save_glyph(out / "model", model, charset, recipe.glyph, {**card, "results": results})
                run.log.write(run.step, {f"validation_{name}": score for name, score in scores.items()})
                run.log.say(f"step {run.step}: slots spell {scores['word_accuracy']:.1%} of held-out rendered words")
            loop.end_of_step(run)
    return out / "model"


def spelled(
    model: GlyphModel, crops: LabelledCrops, index: dict[str, int], max_length: int, device: torch.device
) -> dict[str, float]:
    """Share of crops whose slots, all up to EOS, are nearest to their word's text tokens; and share of such slots."""
    right, slots_right, slots_all = 0, 0, 0
    for start in range(0, len(crops), 128):
        symbols = slot_symbols(crops.labels[start : start + 128], index, max_length)
        pixels = to_pixels(crops.arrays[start : start + 128])
        guessed = model.slot_logits(model.image_tokens(pixels.to(device))[1]).argmax(-1).cpu()
        counted = symbols <= len(index)
        hits = (guessed == symbols) | ~counted
        right += int(hits.all(1).sum())
        slots_right += int((hits & counted).sum())
        slots_all += int(counted.sum())
    return {"word_accuracy": right / len(crops), "slot_accuracy": slots_right / slots_all}
