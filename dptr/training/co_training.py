"""Co-training: a decoder is trained together with the glyph encoder, on text tokens (stage 1), rendered crops, or both.

On rendered crops alone (``co_training.images``, with ``spell`` and ``cosine`` at 0), it is plain supervised training:
the control that DPTR has to beat. With ``co_training.text``, each step also spells a batch of words from their text
tokens; there can be far more of these words than rendered crops.
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
from dptr.data.crops import LabeledCrops
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


def build_co_trained_decoder(recipe: AlignRecipe, charset: Charset, checkpoint: Checkpoint | None) -> Decoder | None:
    """The decoder that ``recipe.co_training`` asks for; None if there is no co-training.

    Fresh weights are drawn from torch's default generator.

    Args:
        recipe: as ``dptr.training.resolve.resolve_align`` returns it.
        checkpoint: initial weights; None = fresh.

    Raises:
        UserError: invalid decoder settings, or ones that differ from the checkpoint's.
    """
    if not has_co_training(recipe.co_training):
        return None
    decoder = build_decoder(model_config(recipe), len(charset))
    if checkpoint is not None:
        transfer(decoder, checkpoint, charset)
    return decoder


def has_co_training(config: CoTrainingConfig) -> bool:
    """Whether a decoder is trained too."""
    return config.text > 0 or config.images > 0


def model_config(recipe: AlignRecipe) -> DecoderModelConfig:
    """The settings of the co-trained decoder, in the format of stage 1."""
    glyph, decoder = recipe.glyph, recipe.co_training.decoder
    return DecoderModelConfig(decoder=decoder, charset=glyph.charset, max_length=glyph.max_length)


def co_training_losses(
    decoder: Decoder,
    text: GlyphText,
    slots: Float[Tensor, "b s d"],
    symbols: Int[Tensor, "b s"],
    targets: Int[Tensor, "b t"],
    words: Int[Tensor, "n s"],
    word_targets: Int[Tensor, "n u"],
    config: CoTrainingConfig,
    generator: torch.Generator,
) -> dict[str, Float[Tensor, ""]]:
    """The decoder's losses whose weight in ``config`` is above 0.

    - ``images``: reading ``targets`` from the crops' slots.
    - ``text``: spelling ``word_targets`` from the words' text tokens, which get no gradient and are scaled to the norm
      of this batch's slots (``length_factor``). With ``config.residuals`` each token is perturbed by the residual (slot
      minus text token) of a random slot of this batch with the same symbol, or with any character if the batch lacks
      it (``dptr.dual.orp.residuals``). So text tokens get the errors that image tokens have at this step.

    Args:
        symbols: the symbol of each slot of the crops.
        words: the symbol of each slot of the words to spell, which need not be those of the crops.
    """
    losses = {}
    if config.images:
        losses["images"] = decoder.loss(slots, None, targets, generator)
    if config.text:
        with torch.no_grad():
            text_tokens = text(symbols)
            factor = length_factor(slots, text_tokens)
            memory = factor * text(words)
            if config.residuals:
                residuals = (slots - factor * text_tokens).flatten(0, 1)
                groups = group_by_symbol(symbols.flatten(), end=0, pad=text.symbols.num_embeddings - 1)
                memory = memory + config.residuals * residuals[draw_same_symbol(groups, words, generator)]
        losses["text"] = decoder.loss(memory, None, word_targets, generator)
    return losses


def decoder_accuracy(
    model: GlyphModel, decoder: Decoder, tokenizer: Tokenizer, crops: LabeledCrops, device: torch.device
) -> float:
    """Share of crops, 0 to 1, whose word the decoder reads exactly from their slots."""

    def recognize(pictures: np.ndarray) -> np.ndarray:
        return to_probabilities(decoder.decode(model.image_tokens(to_pixels(pictures, device))[1], None))

    return share_correct(compare(read_crops(crops, tokenizer, recognize), crops.labels))


def save_co_trained_decoder(
    folder: Path, decoder: Decoder, recipe: AlignRecipe, charset: Charset, glyph: Path, card: dict
) -> None:
    """Write a checkpoint in the format of stage 1 that names ``glyph``, a glyph encoder folder, as its dual encoder."""
    name = f"{glyph.parent.name}/{glyph.name}"
    origin = {"kind": "glyph", "name": name, "fingerprint": digest(glyph / "model.safetensors")}
    save_checkpoint(folder, "decoder", decoder, model_config(recipe), charset, origin, card)
