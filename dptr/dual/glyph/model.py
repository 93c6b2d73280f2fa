"""The embedded dual encoder: trained by ``dptr align`` on rendered words; it needs no download and keeps case.

The text side has one token per slot, ``LN(character embedding + position embedding)``, without context, with EOS and
PAD slots up to a fixed number. The image side is an image encoder and an FMU with one query per slot. Both sides are
aligned slot by slot, so that in stage 2 an image's slots can replace the text tokens of stage 1.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dptr.config.model import DualConfig, GlyphConfig
from dptr.models.fmu import FMU
from dptr.models.layers import Grid, init_transformer
from dptr.models.loading import check_model_folder, load_strictly, parse_settings, read_config
from dptr.models.migrate import FORMAT, FORMATS, migrate
from dptr.models.recognizer import build_encoder
from dptr.text.charset import Charset, resolve_charset
from dptr.utils.errors import UserError
from dptr.utils.files import atomic_folder, write_json
from dptr.utils.tensors import load_with_digest, save_tensors
from dptr.weights import model_file


class GlyphText(nn.Module):
    """Text tokens: ``LN(character + position)``; symbols are EOS 0, characters 1..n, PAD n + 1.

    Args:
        characters: n, the size of the charset.
        slots: tokens per word, ``max_length + 1``.
        dim: width of a token.
    """

    def __init__(self, characters: int, slots: int, dim: int):
        super().__init__()
        self.symbols = nn.Embedding(characters + 2, dim)
        self.positions = nn.Embedding(slots, dim)
        self.norm = nn.LayerNorm(dim)
        nn.init.normal_(self.symbols.weight)
        nn.init.normal_(self.positions.weight)

    def forward(self, symbols: Int[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        return self.norm(self.symbols(symbols) + self.positions.weight)

    def table(self, among: Int[Tensor, " c"] | None = None) -> Float[Tensor, "s c d"]:
        """The tokens of all symbols c, or of those ``among``, in all slots s."""
        symbols = self.symbols.weight if among is None else self.symbols.weight[among]
        return self.norm(symbols[None] + self.positions.weight[:, None])


class GlyphModel(nn.Module):
    """Both sides, and the heads that only alignment uses."""

    def __init__(self, config: GlyphConfig, characters: int):
        super().__init__()
        slots = config.max_length + 1
        self.encoder = build_encoder(config.encoder)
        self.slots = FMU(config.dim, slots, config.heads, config.layers, self.encoder.dim, config.count)
        self.text = GlyphText(characters, slots, config.dim)
        self.scale = nn.Parameter(torch.tensor(config.dim**-0.5))
        self.ctc = nn.Linear(self.encoder.dim, characters + 1)
        self.letters = nn.Linear(self.encoder.dim, characters + 1)
        self.ctc.apply(init_transformer)
        self.letters.apply(init_transformer)

    def image_tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b p e"], Float[Tensor, "b s d"]]:
        """Image tokens of the encoder, and slots of the FMU."""
        tokens, grid = self.encoder.with_grid(pixels)
        return tokens, self.slots(tokens, grid)

    def slot_logits(
        self, slots: Float[Tensor, "b s d"], among: Int[Tensor, " c"] | None = None
    ) -> Float[Tensor, "b s c"]:
        """Scaled dot products of slots with the text tokens of all symbols, or of those ``among``."""
        return self.scale * torch.einsum("bsd,scd->bsc", slots, self.text.table(among))

    def column_logits(
        self, columns: Float[Tensor, "b w e"], among: Int[Tensor, " c"] | None = None
    ) -> Float[Tensor, "b w c"]:
        """CTC logits of each image column (``by_column``); class 0 is the blank."""
        return class_logits(self.ctc, columns, among)

    def letter_logits(
        self, columns: Float[Tensor, "b w e"], among: Int[Tensor, " c"] | None = None
    ) -> Float[Tensor, "b w c"]:
        """Logits of the letter in each image column (``by_column``); class 0 is none."""
        return class_logits(self.letters, columns, among)


def by_column(tokens: Float[Tensor, "b p e"], grid: Grid) -> Float[Tensor, "b w e"]:
    """The mean of the tokens in each column of ``grid`` (rows, columns)."""
    return tokens.unflatten(1, grid).mean(1)


def class_logits(
    head: nn.Linear, tokens: Float[Tensor, "b w e"], among: Int[Tensor, " c"] | None
) -> Float[Tensor, "b w c"]:
    """Logits of all classes, or of those ``among``."""
    return head(tokens) if among is None else F.linear(tokens, head.weight[among], head.bias[among])


@torch.no_grad()
def calibrated(model: GlyphModel, slots: Float[Tensor, "n s d"], symbols: Int[Tensor, "n s"]) -> GlyphModel:
    """A copy of the model whose text tokens are scaled to the norm of image slots.

    Alignment matches directions, not norms: the norm of text tokens became 2.3 times that of slots, so that a decoder
    trained on text tokens saw keys and values of less than half the norm in photographs (docs/LOG.md). The factor is
    fitted by least squares; slots and ``slot_logits`` do not change.

    Args:
        slots: of some images.
        symbols: of their words.
    """
    copy = deepcopy(model)
    factor = length_factor(slots, model.text(symbols))
    for parameter in copy.text.norm.parameters():
        parameter.mul_(factor)
    copy.scale.div_(factor)
    return copy


def length_factor(slots: Float[Tensor, "n s d"], text: Float[Tensor, "n s d"]) -> Float[Tensor, ""]:
    """The least-squares factor on text tokens to fit the slots of the same words, float32."""
    text = text.float()
    return (slots.float() * text).sum() / text.square().sum()


class GlyphDual:
    """The frozen dual encoder; implements ``dptr.dual.base.DualEncoder``.

    ``encode_text`` returns all slots, including EOS and PAD, with an all-True mask: it is not known which slots of an
    image are characters, so the decoder must learn PAD slots too.
    """

    kind = "glyph"

    def __init__(self, model: GlyphModel, charset: Charset, config: GlyphConfig, name: str, fingerprint: str):
        self.model = model.eval().requires_grad_(False)
        self.charset = charset
        self.config = config
        self.name = name
        self.fingerprint = fingerprint
        self.dim = config.dim
        self.image_size = (config.encoder.height, config.encoder.width)
        self._index = {character: index + 1 for index, character in enumerate(charset.characters)}

    def to(self, device: torch.device | str) -> GlyphDual:
        """Move the weights; returns itself."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def encode_text(self, words: list[str]) -> tuple[Float[Tensor, "b l d"], Bool[Tensor, "b l"]]:
        """Tokens of all slots and an all-True mask.

        Raises:
            UserError: a word holds a character outside the charset, or is longer than the slots allow.
        """
        symbols = slot_symbols(words, self._index, self.config.max_length)
        tokens = self.model.text(symbols.to(self.model.scale.device))
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)

    @torch.no_grad()
    def encode_image(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        """Slots of the image; ``pixels`` in [-1, 1] at ``image_size``."""
        return self.model.image_tokens(pixels.to(self.model.scale.device))[1]


def slot_symbols(words: list[str], index: dict[str, int], max_length: int) -> Int[Tensor, "b s"]:
    """Symbols by slot: characters, then EOS (0), then PAD (``len(index) + 1``).

    Raises:
        UserError: a character that ``index`` lacks, or a word of more than ``max_length`` characters.
    """
    symbols = torch.full((len(words), max_length + 1), len(index) + 1)
    for row, word in enumerate(words):
        if len(word) > max_length:
            raise UserError(
                f"{word!r}: {len(word)} characters; this glyph encoder holds {max_length}; "
                "align one with a larger glyph.max_length"
            )
        try:
            known = [index[character] for character in word]
        except KeyError as error:
            raise UserError(
                f"{word!r}: {error.args[0]!r} is not in the glyph encoder's charset; "
                "remove such words or run 'dptr align' with a charset that holds it"
            ) from error
        symbols[row, : len(word)] = torch.tensor(known, dtype=torch.long)
        symbols[row, len(word)] = 0
    return symbols


def save_glyph(
    folder: str | Path, model: GlyphModel, charset: Charset, config: GlyphConfig, card: dict, half: bool = False
) -> None:
    """Write config, charset and weights as one folder, whole or not at all; ``half`` stores float16.

    Raises:
        UserError: ``folder`` holds something else than a model, the disk is full, or the folder cannot be written.
    """
    check_model_folder(folder)
    with atomic_folder(folder) as aside:
        write_json(
            aside / "config.json",
            {
                "format": FORMAT,
                "kind": "glyph",
                "glyph": config.model_dump(mode="json"),
                "charset": {"name": charset.name, "characters": "".join(charset.characters)},
            },
        )
        tensors = {
            name: tensor.half() if half and tensor.is_floating_point() else tensor
            for name, tensor in model.state_dict().items()
        }
        save_tensors(aside / "model.safetensors", tensors)
        write_json(aside / "card.json", card)


def build_glyph(config: GlyphConfig) -> tuple[GlyphModel, Charset]:
    """A fresh model and its charset (torch's default generator draws the weights)."""
    charset = resolve_charset(config.charset)
    return GlyphModel(config, len(charset)), charset


def load_glyph(config: DualConfig) -> GlyphDual:
    """Load a shipped or self-trained glyph encoder.

    Raises:
        UserError: no such folder, another kind or format of checkpoint, or damaged weights.
    """
    folder = model_file(config.model, "config.json").parent
    if not (folder / "config.json").is_file():
        raise UserError(
            f"glyph encoder {config.model!r}: neither a shipped name nor a folder with config.json; "
            "run 'dptr align --out DIR' and pass DIR/model, or see 'dptr models'"
        )
    described = read_config(folder, "glyph encoder")
    if described.get("kind") != "glyph" or described.get("format") not in FORMATS:
        raise UserError(
            f"{folder}: kind {described.get('kind')!r}, format {described.get('format')!r}; a glyph encoder of format "
            f"{' or '.join(map(str, FORMATS))} is needed; pass the folder that 'dptr align' made with this version"
        )
    glyph, charset = parse_settings(migrate(described), "glyph", GlyphConfig, f"{folder}/config.json")
    with torch.random.fork_rng(devices=[]):
        model = GlyphModel(glyph, len(charset))
    tensors, fingerprint = load_with_digest(model_file(config.model, "model.safetensors"), "glyph encoder")
    load_strictly(model, tensors, str(folder))
    return GlyphDual(model, charset, glyph, config.model, fingerprint)
