"""Recognizer: image encoder -> Feature Merge Unit -> decoder; and builders that refuse parts that do not fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dptr.config.model import DecoderModelConfig, EncoderConfig, ModelConfig
from dptr.models.decoders import DECODERS, Decoder
from dptr.models.decoders.ctc import TokenCTC
from dptr.models.encoders.clip_vision import build_clip_vision
from dptr.models.encoders.ppocr import build_ppocr
from dptr.models.encoders.svtr import build_svtr
from dptr.models.encoders.vit import build_vit
from dptr.models.fmu import FMU
from dptr.models.layers import Encoder
from dptr.utils.errors import UserError

ENCODERS: dict[str, Callable[[Any], Encoder]] = {  # (the kind's config)
    "vit": build_vit,
    "svtr": build_svtr,
    "ppocr": build_ppocr,
    "clip-vision": build_clip_vision,
}


class Recognizer(nn.Module):
    """Image encoder, FMU, and decoder. If ``fmu`` is None, the image tokens are the decoder's memory."""

    def __init__(self, encoder: Encoder, fmu: FMU | None, decoder: Decoder):
        super().__init__()
        self.encoder = encoder
        self.fmu = fmu
        self.decoder = decoder

    def memory(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b m d"]:
        """The decoder's memory for ``pixels`` in [-1, 1]."""
        tokens, grid = self.encoder.with_grid(pixels)
        return tokens if self.fmu is None else self.fmu(tokens, grid)

    def loss(
        self, pixels: Float[Tensor, "b 3 h w"], targets: Int[Tensor, "b t"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """The decoder's loss on crops."""
        return self.decoder.loss(self.memory(pixels), None, targets, generator)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t c"]:
        return self.decoder.decode(self.memory(pixels), None)


def build_encoder(config: EncoderConfig) -> Encoder:
    """An image encoder with fresh weights.

    Raises:
        UserError: an unknown kind, or an image size that is not a multiple of its patches; see ``build_clip_vision``.
    """
    if config.kind not in ENCODERS:
        raise UserError(f"encoder.kind = {config.kind!r}: unknown; choose one of {', '.join(ENCODERS)}")
    try:
        return ENCODERS[config.kind](config)
    except ValueError as error:
        raise UserError(f"encoder: {error}") from error


def build_decoder(config: DecoderModelConfig, characters: int) -> Decoder:
    """A decoder with fresh weights.

    Raises:
        UserError: an unknown kind, or heads that do not divide the width.
    """
    if config.decoder.kind not in DECODERS:
        raise UserError(f"decoder.kind = {config.decoder.kind!r}: unknown; choose one of {', '.join(DECODERS)}")
    try:
        return DECODERS[config.decoder.kind](config.decoder, characters, config.max_length)
    except ValueError as error:
        raise UserError(f"decoder: {error}") from error


def build_recognizer(config: ModelConfig, characters: int) -> Recognizer:
    """A recognizer with fresh weights, drawn from torch's default generator.

    Args:
        characters: size of the charset.

    Raises:
        UserError: an unknown kind; without an FMU, different widths of encoder and decoder; too few FMU queries or
            image tokens for the decoder; CTC over image tokens with an FMU or with several rows of tokens.
    """
    encoder = build_encoder(config.encoder)
    decoder = build_decoder(config, characters)
    needed = decoder.min_memory(config.max_length)
    if config.fmu.queries == 0:
        if encoder.dim != config.decoder.dim:
            raise UserError(
                f"encoder width {encoder.dim}, decoder width {config.decoder.dim}: without an FMU they must be equal; "
                f"set model.decoder.dim={encoder.dim} or model.fmu.queries > 0"
            )
        heights = {height for height, _ in config.encoder.crop_size.every}
        if isinstance(decoder, TokenCTC) and (encoder.leading or encoder.grid[0] > 1 or len(heights) > 1):
            raise UserError(
                f"decoder.path = 'tokens' with encoder {config.encoder.kind!r}: the path is one row of image tokens, "
                "and this encoder has several rows, or a token of the whole image; set model.encoder.kind=ppocr, or "
                "model.decoder.path=queries"
            )
        tokens = encoder.leading + math.prod(encoder.grid)
        if tokens < needed:
            raise UserError(
                f"encoder: {tokens} image tokens; decoder {config.decoder.kind!r} needs {needed} memory tokens for "
                f"words of {config.max_length} characters; set model.fmu.queries={needed} or encoder.width larger"
            )
        return Recognizer(encoder, None, decoder)
    if isinstance(decoder, TokenCTC):
        raise UserError(
            f"decoder.path = 'tokens' with fmu.queries = {config.fmu.queries}: the path is the image tokens, without "
            "an FMU; set model.fmu.queries=0, or model.decoder.path=queries"
        )
    if config.fmu.queries < needed:
        raise UserError(
            f"fmu.queries = {config.fmu.queries}: decoder {config.decoder.kind!r} needs {needed} memory tokens for "
            f"words of {config.max_length} characters; set model.fmu.queries={needed} or more"
        )
    try:
        fmu = FMU(
            config.decoder.dim, config.fmu.queries, config.fmu.heads, config.fmu.layers,
            encoder.dim, config.fmu.count, encoder.leading, config.fmu.norms, config.fmu.dropout,
            config.fmu.initialization,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"fmu: {error}") from error
    return Recognizer(encoder, fmu, decoder)
