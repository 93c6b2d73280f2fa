"""CLIP and similar models as dual encoders: checkpoints of ``dptr.dual.clip.families.FAMILIES`` in ``transformers``.

Nothing is downloaded: the weights are in a folder, or ``hf download`` has put them into the hub client's cache.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dptr.config.model import ClipDualConfig
from dptr.dual.clip.families import FAMILIES, Family, Pixels
from dptr.dual.clip.hub import load_towers
from dptr.dual.clip.prompts import resolve_prompt
from dptr.models.encoders.clip_vision import image_tokens, tower_size
from dptr.utils.errors import UserError
from dptr.utils.terminal import say

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ClipDual:
    """A frozen CLIP or a similar model; implements ``dptr.dual.base.DualEncoder``.

    Text tokens are [pooled token after the text projection; all tokens after the final norm, not projected], not
    normalized, as in DPTR's published code. If the width of the text tower differs from that of the joint space, as in
    Chinese-CLIP, all tokens are projected, since a memory has one width (``projects_all``).

    Args:
        model: both towers, of a class of ``FAMILIES``; changed to float32, eval mode, and no gradients.
        tokenizer: of the model; must put the end-of-text token last.
        prompt: a key of ``dptr.dual.clip.prompts.PROMPTS``, or a template with ``{}``.
        tokens: ``paper``: as many tokens as the tower's context, padding included (CLIP: 1 + 77); ``trimmed``: the
            same without padding.
        name: names the weights, for provenance and errors.
        pixels: mean and deviation per channel of its training's pixels in [0, 1]; None = those of its family.

    Raises:
        UserError: image tokens are not as wide as the joint space; the prompt is neither a name nor a template, or
            leaves no room for a word; the tokenizer does not belong to the tower.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompt: str,
        tokens: Literal["paper", "trimmed"],
        name: str,
        pixels: Pixels | None = None,
    ):
        config: Any = model.config  # typed by transformers as parts that may be None or dicts
        self.family: Family = FAMILIES[config.model_type]
        self.kind = self.family.kind
        self.model: Any = model.float().eval().requires_grad_(False)
        self.tokenizer: Any = tokenizer
        self.prompt = resolve_prompt(prompt)
        self.tokens = tokens
        self.name = name
        self.pixels = pixels or self.family.pixels
        self.device = torch.device("cpu")
        self.projection = self.model.text_projection if self.family.head == "linear" else self.model.text_model.head
        self.dim: int = self.projection.out_features
        self.projects_all: bool = self.projection.in_features != self.dim
        linear, vision = self.family.head == "linear", config.vision_config
        image: int = self.model.visual_projection.out_features if linear else vision.hidden_size
        if image != self.dim:
            raise UserError(
                f"{name}: text tokens {self.dim} wide, image tokens {image}; a memory has one width; pass a checkpoint "
                f"where they agree, such as {self.family.example}"
            )
        self.context: int = self.family.context or config.text_config.max_position_embeddings
        self.image_size: tuple[int, int] = tower_size(vision)
        end = tokenizer.eos_token_id
        self._end: int = tokenizer.sep_token_id if end is None else end  # BERT's tokenizers name it SEP
        # a padding token of one character, such as "!" in some tokenizers, is not special
        specials = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
        self._specials = {number for number, token in specials if len(token) > 1}
        self._frame = self._special(tokenizer([""])["input_ids"][0])
        self._probes = self._token_ids(["a", "b", "Ab1!"])
        if self._probes[0] == self._probes[1] or len(tokenizer) > config.text_config.vocab_size:
            raise UserError(
                f"{name}: a tokenizer of {len(tokenizer)} tokens, a text tower of {config.text_config.vocab_size}; "
                f"pass a checkpoint with its own {self.family.files}"
            )

    def to(self, device: torch.device | str) -> ClipDual:
        """Move the weights; results will be on this device."""
        self.model.to(device)
        self.device = torch.device(device)
        return self

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all weights, and of the ``tokens`` setting with the token ids of probe words.

        Pixel statistics other than the family's are part of the first, since image tokens depend on them.
        """
        weights = hashlib.sha256()
        for key, tensor in sorted(self.model.state_dict().items()):
            weights.update(f"{key} {tuple(tensor.shape)}".encode())
            weights.update(tensor.detach().cpu().contiguous().numpy())
        if self.pixels != self.family.pixels:
            weights.update(json.dumps(self.pixels).encode())
        settings = hashlib.sha256(json.dumps([self.tokens, self._probes]).encode())
        return f"{weights.hexdigest()[:16]}-{settings.hexdigest()[:8]}"

    @torch.no_grad()
    def encode_text(self, words: list[str]) -> tuple[Float[Tensor, "b l d"], Bool[Tensor, "b l"]]:
        """Text tokens of at least one word, the pooled one first; see the class for ``paper`` and ``trimmed``.

        Returns:
            Tokens, float32, and their mask. With ``paper``, ``l`` = 1 + context, and the mask is all True: padding is
            part of the memory. With ``trimmed``, tokens are zero at padding.

        Raises:
            UserError: a prompt longer than the tower's context, or a character that the tokenizer does not know.
        """
        rows = self._token_ids(words)
        ends = torch.tensor([len(row) - 1 for row in rows])
        longest = int(ends.max()) + 1
        length = self.context if self.tokens == "paper" or self.family.padding == "attended" else longest
        ids = torch.full(
            (len(rows), length), self.tokenizer.pad_token_id if self.family.pad is None else self.family.pad
        )
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        ends = ends.to(self.device)
        attended = torch.arange(length, device=self.device) <= ends[:, None]
        masks = {"attention_mask": attended.long()} if self.family.padding == "masked" else {}
        place = {"first": torch.zeros_like(ends), "end": ends, "last": torch.full_like(ends, length - 1)}
        with torch.autocast(self.device.type, enabled=False):
            hidden = self.model.text_model(input_ids=ids.to(self.device), **masks).last_hidden_state
            pooled = self.projection(hidden[torch.arange(len(rows), device=self.device), place[self.family.pooled]])
            if self.projects_all:
                hidden = self.projection(hidden)
        tokens = torch.cat([pooled[:, None], hidden], dim=1)
        if self.tokens == "paper":
            return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=self.device)
        mask = torch.arange(longest + 1, device=self.device) <= ends[:, None] + 1
        return tokens[:, : longest + 1].masked_fill(~mask[:, :, None], 0.0), mask

    @torch.no_grad()
    def encode_image(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        """All image tokens, float32; see ``dptr.models.encoders.clip_vision.image_tokens``.

        Args:
            pixels: in [-1, 1], of ``image_size``; normalized here to the mean and deviation of the tower's training.
        """
        projection = self.model.visual_projection if self.family.head == "linear" else None
        with torch.autocast(self.device.type, enabled=False):
            return image_tokens(self.model.vision_model, projection, pixels.to(self.device).float(), *self.pixels)

    def _token_ids(self, words: list[str]) -> list[list[int]]:
        """The token ids of each prompt. The last of a row is the end, whatever its id in the configuration."""
        texts = [self.prompt(word) for word in words]
        rows = self.tokenizer(texts, padding=False, truncation=False, verbose=False)["input_ids"]
        for word, row in zip(words, rows, strict=True):
            if row[-1] != self._end:
                end = self.tokenizer.convert_ids_to_tokens(self._end)
                raise UserError(
                    f"{self.name}: the tokenizer does not end a text with {end}; pass {self.family.title}'s own"
                )
            if self._special(row) != self._frame:
                raise UserError(
                    f"word '{word}': holds a character that {self.name}'s tokenizer does not know; leave the word out, "
                    "or its characters out of model.charset"
                )
            if len(row) > self.context:
                raise UserError(
                    f"word '{word}': {len(row)} tokens with its prompt, {self.name} takes {self.context}; "
                    "lower model.max_length or pass a shorter prompt (--set dual.prompt=paper)"
                )
        return rows

    def _special(self, row: list[int]) -> list[int]:
        """The special tokens of a row. Those of an empty text are around every text."""
        return [number for number in row if number in self._specials]


def load_clip(config: ClipDualConfig) -> ClipDual:
    """Load a dual encoder from a local folder or the hub client's cache, on the CPU, without network.

    Prints a message if all text tokens are projected.

    Raises:
        UserError: see ``dptr.dual.clip.hub.load_towers`` and ``ClipDual``.
    """
    towers = load_towers(config)
    dual = ClipDual(towers.model, towers.tokenizer, config.prompt, config.tokens, towers.name, towers.pixels)
    if dual.projects_all:
        say(
            f"{dual.name}: text tower {dual.projection.in_features} wide, joint space {dual.dim}; all text tokens go "
            "through the text projection"
        )
    return dual
