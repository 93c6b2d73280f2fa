"""``dptr align``: train the glyph dual encoder on rendered words. No photograph of text and no human label is used.

With ``co_training`` a decoder learns at the same time (``dptr.training.co_training``).
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dptr.config.render import plain_render
from dptr.config.train import AlignRecipe
from dptr.data.augment import to_pixels
from dptr.data.crops import LabelledCrops
from dptr.data.loader import batches, text_batch
from dptr.data.sources import Ramp
from dptr.dual.glyph.losses import alignment_loss
from dptr.dual.glyph.model import GlyphModel, calibrated, save_glyph, slot_symbols
from dptr.dual.glyph.warm_start import begun
from dptr.models.decoders import Decoder
from dptr.text.corpus import Corpus
from dptr.text.tokenizer import Tokenizer
from dptr.training import trainer as loop
from dptr.training.co_training import pupil, read, save_pupil, teaching_losses
from dptr.training.resolve import resolve_align
from dptr.training.sources import RENDERED_VALIDATION, bucketed, draw, rendered_words


class _Objective(nn.Module):
    def __init__(self, model: GlyphModel, decoder: Decoder | None, recipe: AlignRecipe):
        super().__init__()
        self.model = model
        self.decoder = decoder
        self.recipe = recipe

    def forward(
        self,
        pixels: Float[Tensor, "b 3 h w"],
        symbols: Int[Tensor, "b s"],
        stops: Float[Tensor, "b l 2"],
        generator: torch.Generator,
        targets: Int[Tensor, "b t"] | None = None,
        words: Int[Tensor, "n s"] | None = None,
        word_targets: Int[Tensor, "n u"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        loss, parts, slots = alignment_loss(self.model, pixels, symbols, stops, self.recipe, generator)
        if self.decoder is not None:
            assert targets is not None and words is not None and word_targets is not None
            teach = self.recipe.co_training
            taught = teaching_losses(
                self.decoder, self.model.text, slots, symbols, targets, words, word_targets, teach, generator
            )
            loss = loss + torch.stack([getattr(teach, name) * value for name, value in taught.items()]).sum()
            parts |= {name: value.detach() for name, value in taught.items()}
        return loss, parts


def align(recipe: AlignRecipe, out: Path, resume: bool = False) -> Path:
    """Train and write ``out/model``, a glyph encoder folder.

    Validation reads rendered words that the corpus holds out, in fonts that are held out where ``render.font_split`` is
    ``train``; the best state, by words that the decoder reads where one is taught, then by words and by slots, is kept.
    A decoder that is taught is written to ``out/decoder``, a checkpoint as of stage 1.

    Returns:
        The folder of the best model.

    Raises:
        UserError: see ``resolve_align``, ``loop.check_out``, ``Corpus``, ``Renderer``, ``loop.advance``.
    """
    resolved = resolve_align(recipe)
    recipe, charset, parts = resolved.recipe, resolved.charset, resolved.parts
    loop.check_out(out, recipe, resume)
    accelerator = loop.make_accelerator(recipe.run)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        model = GlyphModel(recipe.glyph, len(charset))
        decoder = pupil(recipe, charset, parts.decoder)
    begins = begun(model, charset, parts.glyph) if parts.glyph else []
    index = {character: place + 1 for place, character in enumerate(charset.characters)}
    length = recipe.glyph.max_length
    source, unseen, notes = rendered_words(
        recipe.corpus, recipe.render, recipe.glyph.encoder, charset, length, recipe.run.seed, recipe.pack
    )
    if ramp := round(recipe.ramp * recipe.run.steps * recipe.run.batch_size):
        plain, _, _ = rendered_words(
            recipe.corpus, plain_render(recipe.render), recipe.glyph.encoder, charset, length, recipe.run.seed, ""
        )
        source = Ramp(plain, source, ramp)
    source = bucketed(source, 1, recipe.glyph.encoder, recipe.run)
    validation = draw(unseen(), RENDERED_VALIDATION)
    tokenizer = Tokenizer(charset, length)
    corpus = Corpus(recipe.corpus, charset, length, recipe.run.seed)
    objective = _Objective(model, decoder, recipe)
    run = loop.start(out, recipe, recipe.run, recipe.optim, accelerator, objective, [(objective, 1.0)], "crops")
    for line in [*begins, *notes]:
        run.log.say(line)
    stream = batches(
        source, recipe.run.batch_size, run.step, recipe.run.steps, recipe.run.workers,
        accelerator.process_index, accelerator.num_processes,
    )  # fmt: skip
    card: dict[str, Any] = {
        "name": out.name,
        "kind": "dual encoder",
        "trained_on": ["rendered words", *([f"what {recipe.init.glyph} knows"] if recipe.init.glyph else [])],
        "recipe": recipe.model_dump(mode="json"),
    }
    with loop.interruptible(run), closing(stream):
        for crops, words, stops in stream:
            batch = {"pixels": to_pixels(crops, run.device), "symbols": slot_symbols(words, index, length)}
            batch["stops"] = torch.from_numpy(stops)
            if decoder is not None:
                some = text_batch(corpus, recipe.co_training.words, run.step)[loop.share(accelerator)]
                batch["targets"] = torch.from_numpy(tokenizer.encode(words))
                batch["words"] = slot_symbols(some, index, length)
                batch["word_targets"] = torch.from_numpy(tokenizer.encode(some))
            batch = {name: tensor.to(run.device) for name, tensor in batch.items()}
            with loop.seeded(recipe.run.seed, run.step) as generator, accelerator.autocast():
                loss, parts = run.prepared(**batch, generator=generator)
            value = loop.advance(run, loss, batch, words)
            speed = run.log.progress(run.step, recipe.run.steps, recipe.run.batch_size, value)
            if loop.due(run, recipe.run.log_every):
                losses = {name: float(part) for name, part in parts.items()}
                run.log.write(run.step, {"loss": value, **losses, "crops_per_second": round(speed, 1)})
            if loop.due(run, recipe.run.validate_every):
                with loop.averaged(run):
                    scores = spelled(model, validation, index, length, run.device)
                    if decoder is not None:
                        scores = {"read": read(model, decoder, tokenizer, validation, run.device), **scores}
                    if tuple(scores.values()) > tuple(run.best.values()):
                        run.best = scores
                        if accelerator.is_main_process:
                            told = {"data": "rendered held-out words", "step": run.step, "n": len(validation)}
                            card["results"] = [{**told, **scores}]
                            seen = shown(model, validation, index, length, run.device)
                            fitted = calibrated(model, *seen) if recipe.spell else model
                            save_glyph(out / "model", fitted, charset, recipe.glyph, card)
                            if decoder is not None:
                                save_pupil(out / "decoder", decoder, recipe, charset, out / "model", card)
                run.log.write(run.step, {f"validation_{name}": score for name, score in scores.items()})
                also = f", decoder reads {scores['read']:.1%}" if decoder is not None else ""
                run.log.say(
                    f"step {run.step}: slots spell {scores['word_accuracy']:.1%} of held-out rendered words{also}"
                )
            loop.end_of_step(run)
    return out / "model"


def spelled(
    model: GlyphModel, crops: LabelledCrops, index: dict[str, int], max_length: int, device: torch.device
) -> dict[str, float]:
    """Share of crops whose slots, all up to EOS, are nearest to their word's text tokens; and share of such slots."""
    slots, symbols = shown(model, crops, index, max_length, device)
    counted = symbols <= len(index)
    hits = (model.slot_logits(slots).argmax(-1) == symbols) | ~counted
    return {
        "word_accuracy": float(hits.all(1).double().mean()),
        "slot_accuracy": float(hits[counted].double().mean()),
    }


def shown(
    model: GlyphModel, crops: LabelledCrops, index: dict[str, int], max_length: int, device: torch.device
) -> tuple[Float[Tensor, "n s d"], Int[Tensor, "n s"]]:
    """Slots of crops, in the order of ``LabelledCrops.batches``, and the symbols they should stand for."""
    seen = [(rows, model.image_tokens(to_pixels(some, device))[1]) for rows, some in crops.batches()]
    labels = [crops.labels[row] for rows, _ in seen for row in rows]
    return torch.cat([slots for _, slots in seen]), slot_symbols(labels, index, max_length).to(device)
