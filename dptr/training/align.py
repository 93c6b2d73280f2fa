"""``dptr align``: train the glyph dual encoder on rendered words, without photographs of text or human labels.

With ``co_training``, a decoder is trained at the same time (``dptr.training.co_training``).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dptr.config.render import plain_render
from dptr.config.train import AlignRecipe
from dptr.data.augment import to_pixels
from dptr.data.crops import LabeledCrops
from dptr.data.loader import Batch, batches, text_batch
from dptr.data.sources import Curriculum, Source
from dptr.dual.glyph.losses import alignment_loss
from dptr.dual.glyph.model import GlyphModel, calibrated, save_glyph, slot_symbols
from dptr.dual.glyph.warm_start import BY_CHARACTER, warm_start
from dptr.evaluation.accuracy import read_batches
from dptr.models.decoders import Decoder
from dptr.text.charset import Charset
from dptr.text.corpus import Corpus
from dptr.text.tokenizer import Tokenizer
from dptr.training.co_training import (
    build_co_trained_decoder,
    co_training_losses,
    decoder_accuracy,
    save_co_trained_decoder,
)
from dptr.training.device import make_accelerator
from dptr.training.resolve import resolve_align
from dptr.training.shared_rows import SharedRows, compose_rows, decoder_tables, share_rows
from dptr.training.sources import RENDERED_VALIDATION, draw, in_batches, rendered_words
from dptr.training.state import check_out
from dptr.training.task import Scores, Share, Task, Validation
from dptr.training.trainer import Trainer


class AlignObjective(nn.Module):
    def __init__(
        self, model: GlyphModel, decoder: Decoder | None, recipe: AlignRecipe, shared_rows: SharedRows | None = None
    ):
        super().__init__()
        self.model = model
        self.shared_rows = shared_rows
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
    ) -> dict[str, Float[Tensor, ""]]:
        loss, parts, slots = alignment_loss(self.model, pixels, symbols, stops, self.recipe, generator)
        if self.decoder is not None:
            assert targets is not None and words is not None and word_targets is not None
            config = self.recipe.co_training
            losses = co_training_losses(
                self.decoder, self.model.text, slots, symbols, targets, words, word_targets, config, generator
            )
            loss = loss + torch.stack([getattr(config, name) * value for name, value in losses.items()]).sum()
            parts |= {name: value.detach() for name, value in losses.items()}
        return {"loss": loss, **parts}


def align(recipe: AlignRecipe, out: Path, resume: bool = False) -> Path:
    """Train, and write ``out/model``, a glyph encoder folder.

    Validation reads rendered words that the corpus holds out; their fonts are held out too if ``render.font_split`` is
    ``train``. States are ranked by the co-trained decoder's word accuracy, if there is one, then by the slots' word
    accuracy, then by slot accuracy; the best is kept. A co-trained decoder is written to ``out/decoder``, in the format
    of a stage 1 checkpoint.

    Returns:
        The folder of the best model.

    Raises:
        UserError: see ``resolve_align``, ``check_out``, ``Corpus``, ``Renderer``, ``Trainer``.
    """
    resolved = resolve_align(recipe)
    recipe, charset, parts = resolved.recipe, resolved.charset, resolved.parts
    check_out(out, recipe, resume)
    accelerator = make_accelerator(recipe.run)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        model = GlyphModel(recipe.glyph, len(charset))
        decoder = build_co_trained_decoder(recipe, charset, parts.decoder)
    compose_rows(_character_tables(model, decoder), charset, charset.characters, recipe.decomposition, recipe.run.seed)
    notes = warm_start(model, charset, parts.glyph) if parts.glyph else []
    length = recipe.glyph.max_length
    source, make_validation, render_notes = rendered_words(
        recipe.corpus, recipe.render, recipe.glyph.encoder, charset, length, recipe.run.seed, recipe.pack
    )
    if ramp := round(recipe.ramp * recipe.run.steps * recipe.run.batch_size):
        plain, _, _ = rendered_words(
            recipe.corpus, plain_render(recipe.render), recipe.glyph.encoder, charset, length, recipe.run.seed, ""
        )
        source = Curriculum(plain, source, ramp)
    source, batch_notes = in_batches(source, 1, recipe.glyph.encoder, recipe.run)
    validation = draw(make_validation(), RENDERED_VALIDATION)
    task = AlignTask(recipe, out.name, charset, model, decoder, source, validation, accelerator.device)
    Trainer(out, recipe, recipe.run, recipe.optim, accelerator, task, [*notes, *render_notes, *batch_notes]).run()
    return out / "model"


class AlignTask(Task):
    """Training of the glyph dual encoder, and of a decoder if there is one; see ``dptr.training.task.Task``."""

    unit = "crops"

    def __init__(
        self,
        recipe: AlignRecipe,
        name: str,
        charset: Charset,
        model: GlyphModel,
        decoder: Decoder | None,
        source: Source,
        validation: LabeledCrops,
        device: torch.device,
    ):
        self.recipe, self.charset, self.model, self.decoder = recipe, charset, model, decoder
        self.source, self.validation, self.device = source, validation, device
        self.length = recipe.glyph.max_length
        self.index = {character: place + 1 for place, character in enumerate(charset.characters)}
        self.tokenizer = Tokenizer(charset, self.length)
        self.origins = {"charset": charset.digest}
        # words for the decoder to spell; another seed than the rendered words', so that they differ
        self.corpus = Corpus(recipe.corpus, charset, self.length, recipe.run.seed + (1 << 32))
        shared_rows = share_rows(_character_tables(model, decoder), charset, recipe.decomposition)
        self.objective = AlignObjective(model, decoder, recipe, shared_rows)
        self.parts = [(self.objective, 1.0)]
        self.card: dict[str, Any] = {
            "name": name,
            "kind": "dual encoder",
            "trained_on": ["rendered words", *([f"what {recipe.init.glyph} knows"] if recipe.init.glyph else [])],
            "recipe": recipe.model_dump(mode="json"),
        }

    def batches(self, first: int, last: int, share: Share) -> Generator[Batch, None, None]:
        run = self.recipe.run
        return batches(self.source, run.batch_size, first, last, run.workers, share.rank, share.processes)

    def tensors(
        self, batch: Batch, step: int, generator: torch.Generator, share: Share
    ) -> tuple[dict[str, Tensor], list[str]]:
        crops, words, stops = batch
        tensors = {
            "pixels": to_pixels(crops, self.device),
            "symbols": slot_symbols(words, self.index, self.length),
            "stops": torch.from_numpy(stops),
        }
        if self.decoder is not None:
            spelled = text_batch(self.corpus, self.recipe.co_training.words, step)[share.rank :: share.processes]
            tensors["targets"] = torch.from_numpy(self.tokenizer.encode(words))
            tensors["words"] = slot_symbols(spelled, self.index, self.length)
            tensors["word_targets"] = torch.from_numpy(self.tokenizer.encode(spelled))
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}, words

    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        scores = slot_accuracy(self.model, self.validation, self.index, self.length, self.device)
        message = f"slots spell {scores['word_accuracy']:.1%} of held-out rendered words"
        if self.decoder is not None:
            accuracy = decoder_accuracy(self.model, self.decoder, self.tokenizer, self.validation, self.device)
            scores = {"read": accuracy, **scores}
            message += f", decoder reads {scores['read']:.1%}"
        yield Validation(scores, message)

    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        return tuple(scores.values()) > tuple(best.values())

    def save(self, validation: Validation, step: int, out: Path) -> None:
        result = {"data": "rendered held-out words", "step": step, "n": len(self.validation), **validation.scores}
        card = {**self.card, "results": [result]}
        slots = read_slots(self.model, self.validation, self.index, self.length, self.device)
        model = calibrated(self.model, *slots) if self.recipe.spell else self.model
        save_glyph(out / "model", model, self.charset, self.recipe.glyph, card)
        if self.decoder is not None:
            save_co_trained_decoder(out / "decoder", self.decoder, self.recipe, self.charset, out / "model", card)


def _character_tables(model: GlyphModel, decoder: Decoder | None) -> list[nn.Parameter]:
    """The parameters with one row per character."""
    tables = [model.get_parameter(name) for name in BY_CHARACTER]
    return [*tables, *(decoder_tables(decoder) if decoder is not None else [])]


def slot_accuracy(
    model: GlyphModel, crops: LabeledCrops, index: dict[str, int], max_length: int, device: torch.device
) -> dict[str, float]:
    """Share, 0 to 1, of slots up to EOS whose nearest text token is correct, and of crops in which all of them are."""
    slots, symbols = read_slots(model, crops, index, max_length, device)
    is_counted = symbols <= len(index)
    is_correct = (model.slot_logits(slots).argmax(-1) == symbols) | ~is_counted
    return {
        "word_accuracy": float(is_correct.all(1).double().mean()),
        "slot_accuracy": float(is_correct[is_counted].double().mean()),
    }


def read_slots(
    model: GlyphModel, crops: LabeledCrops, index: dict[str, int], max_length: int, device: torch.device
) -> tuple[Float[Tensor, "n s d"], Int[Tensor, "n s"]]:
    """Slots of crops, in the order of ``LabeledCrops.batches``, and the symbol of each."""

    def read(batch: np.ndarray) -> list[Tensor]:
        return list(model.image_tokens(to_pixels(batch, device))[1].unbind())

    outputs = list(read_batches(crops.batches(), read))
    labels = [crops.labels[row] for row, _ in outputs]
    return torch.stack([slots for _, slots in outputs]), slot_symbols(labels, index, max_length).to(device)
