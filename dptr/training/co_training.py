"""A decoder taught while the glyph encoder aligns: stage 1 without a second run, or reading rendered crops, or both.

Reading rendered crops alone (``co_training.images``, with ``spell`` and ``cosine`` at 0) is plain supervised training:
the control that DPTR has to beat. With ``co_training.text`` as well it is joint training: each step also holds a batch
of words that are spelled from their text tokens, far more words than crops can be rendered of.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dptr.config.model import DecoderModelConfig
from dptr.config.train import AlignRecipe, CoTrainingConfig
from dptr.data.augment import to_pixels
from dptr.data.crops import LabelledCrops
from dptr.dual.glyph.model import GlyphModel, GlyphText, length_factor
from dptr.dual.orp.residuals import draw_same_symbol, group_by_symbol
from dptr.evaluation.accuracy import compare, read_crops, share_correct
from dptr.inference.torch_backend import to_probabilities
from dptr.models.checkpoint import Checkpoint, save_checkpoint, transfer
from dptr.models.decoders import Decoder
from dptr.models.recognizer import build_decoder
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.files import digest


def pupil(recipe: AlignRecipe, charset: Charset, checkpoint: Checkpoint | None) -> Decoder | None:
    """The decoder that ``recipe.co_training`` asks for; None where it asks for none.

    Torch's default generator draws fresh weights.

    Args:
        recipe: as ``dptr.training.resolve.resolve_align`` completes it.
        checkpoint: where the decoder starts; None = fresh.

    Raises:
        UserError: settings that are no decoder's, or not those of ``checkpoint``.
    """
    if not co_trained(recipe.co_training):
        return None
    decoder = build_decoder(model_config(recipe), len(charset))
    if checkpoint is not None:
        transfer(decoder, checkpoint, charset)
    return decoder


def co_trained(config: CoTrainingConfig) -> bool:
    """Whether there is a decoder to train beside."""
    return config.text > 0 or config.images > 0


def model_config(recipe: AlignRecipe) -> DecoderModelConfig:
    """Of the decoder and its words, as stage 1 has them."""
    glyph, decoder = recipe.glyph, recipe.co_training.decoder
    return DecoderModelConfig(decoder=decoder, charset=glyph.charset, max_length=glyph.max_length)


def teaching_losses(
    decoder: Decoder,
    text: GlyphText,
    slots: Float[Tensor, "b s d"],
    symbols: Int[Tensor, "b s"],
    targets: Int[Tensor, "b t"],
    words: Int[Tensor, "n s"],
    word_targets: Int[Tensor, "n u"],
    teach: CoTrainingConfig,
    generator: torch.Generator,
) -> dict[str, Float[Tensor, ""]]:
    """The decoder's losses, those with a weight above 0.

    - ``images``: reading ``targets`` from the crops' slots;
    - ``text``: spelling ``word_targets`` from the words' text tokens, which are frozen for it and scaled to the length
      of this batch's slots (``length_factor``). With ``teach.residuals`` each token moves as a random slot of this
      batch that shows the same symbol lies off its own text token (``dptr.dual.orp.residuals``), or, where none
      shows it, any character's: stand-ins that err as this step's image tokens do.

    Args:
        symbols: of the crops' words, by slot.
        words: symbols of the words to spell, by slot; they need not be words of the crops.
    """
    losses = {}
    if teach.images:
        losses["images"] = decoder.loss(slots, None, targets, generator)
    if teach.text:
        with torch.no_grad():
            own = text(symbols)
            factor = length_factor(slots, own)
            memory = factor * text(words)
            if teach.residuals:
                off = (slots - factor * own).flatten(0, 1)
                held = group_by_symbol(symbols.flatten(), end=0, pad=text.symbols.num_embeddings - 1)
                memory = memory + teach.residuals * off[draw_same_symbol(held, words, generator)]
        losses["text"] = decoder.loss(memory, None, word_targets, generator)
    return losses


def decoder_accuracy(
    model: GlyphModel, decoder: Decoder, tokenizer: Tokenizer, crops: LabelledCrops, device: torch.device
) -> float:
    """Share of crops, 0 to 1, whose word the decoder reads correctly from their slots, character by character."""

    def recognize(pictures: np.ndarray) -> np.ndarray:
        return to_probabilities(decoder.decode(model.image_tokens(to_pixels(pictures, device))[1], None))

    return share_correct(compare(read_crops(crops, tokenizer, recognize), crops.labels))


def save_pupil(folder: Path, decoder: Decoder, recipe: AlignRecipe, charset: Charset, glyph: Path, card: dict) -> None:
    """Write a decoder checkpoint as stage 1 does; its dual encoder is the one just written to ``glyph``."""
    name = f"{glyph.parent.name}/{glyph.name}"
    origin = {"kind": "glyph", "name": name, "fingerprint": digest(glyph / "model.safetensors")}
    save_checkpoint(folder, "decoder", decoder, model_config(recipe), charset, origin, card)
