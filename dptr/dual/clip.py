"""CLIP as a dual encoder: any checkpoint that ``transformers.CLIPModel`` reads.

Nothing is downloaded here: the weights are a folder, or what ``hf download`` has put into the hub client's cache.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from torch import Tensor

from dptr.config import DualConfig
from dptr.dual.prompts import resolve_prompt
from dptr.errors import UserError
from dptr.files import read_json

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerBase

# openai/CLIP, clip/clip.py, `_transform`: per channel, of pixels in [0, 1]
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
# openai/CLIP, clip/clip.py, `tokenize`: rows start as zeros and are never masked; the tower is causal, so that padding
# changes no real token. (The tokenizers of `transformers` pad with the end-of-text token instead.)
PADDING = 0

EXAMPLE = "openai/clip-vit-base-patch16"  # the paper's


class ClipDual:
    """A frozen CLIP (contract: ``dptr.dual.DualEncoder``).

    Args:
        model: both towers; taken over: moved to float32, eval mode and no gradients.
        tokenizer: its tokenizer, which must put the end-of-text token last.
        prompt: a key of ``dptr.dual.prompts.PROMPTS``, or a template with ``{}``.
        tokens: ``paper``: [end-of-text token after the final layer norm and the text projection; all 77 tokens after
            the final layer norm, not projected], not normalised, padding included, as DPTR's published code;
            ``trimmed``: the same without padding.
        name: names the weights, for provenance and errors.

    Raises:
        UserError: the text tower is not as wide as the joint space, the prompt is neither a name nor a template or
            leaves no room for a word, or the tokenizer is not CLIP's.
    """

    kind = "clip"

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: PreTrainedTokenizerBase,
        prompt: str,
        tokens: Literal["paper", "trimmed"],
        name: str,
    ):
        config: Any = model.config  # typed by transformers as parts that may be None or dicts
        text, size = config.text_config, config.vision_config.image_size
        if text.hidden_size != config.projection_dim:
            raise UserError(
                f"{name}: text tower {text.hidden_size} wide, joint space {config.projection_dim}; text tokens "
                f"mix both and need one width; pass a checkpoint where they agree, such as {EXAMPLE}"
            )
        self.model = model.float().eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.prompt = resolve_prompt(prompt)
        self.tokens = tokens
        self.name = name
        self.dim: int = text.hidden_size
        self.context: int = text.max_position_embeddings
        self.image_size: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.device = torch.device("cpu")
        self._probes = self._token_ids(["a", "b", "Ab1!"])
        if self._probes[0] == self._probes[1] or len(tokenizer) > text.vocab_size:
            raise UserError(
                f"{name}: a tokenizer of {len(tokenizer)} tokens, a text tower of {text.vocab_size}; "
                "pass a checkpoint with its own vocab.json and merges.txt"
            )

    def to(self, device: torch.device | str) -> ClipDual:
        """Move the weights; results come back on this device."""
        self.model.to(device)
        self.device = torch.device(device)
        return self

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all weights, then of what the prompt makes of probe words and the ``tokens`` setting."""
        weights = hashlib.sha256()
        for key, tensor in sorted(self.model.state_dict().items()):
            weights.update(f"{key} {tuple(tensor.shape)}".encode())
            weights.update(tensor.detach().cpu().contiguous().numpy())
        settings = hashlib.sha256(json.dumps([self.tokens, self._probes]).encode())
        return f"{weights.hexdigest()[:16]}-{settings.hexdigest()[:8]}"

    @torch.no_grad()
    def encode_text(self, words: list[str]) -> tuple[Float[Tensor, "b l d"], Bool[Tensor, "b l"]]:
        """Text tokens of at least one word, the pooled one first; see the class for ``paper`` and ``trimmed``.

        Returns:
            Tokens, float32 (``l`` = 78 in ``paper``; in ``trimmed`` zeros at padding), and the mask of real tokens (in
            ``paper`` True throughout: there padding is memory like any other).

        Raises:
            UserError: a prompt longer than the tower's context, or a character that the tokenizer does not know.
        """
        rows = self._token_ids(words)
        ends = torch.tensor([len(row) - 1 for row in rows])
        length = self.context if self.tokens == "paper" else int(ends.max()) + 1
        ids = torch.full((len(rows), length), PADDING)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        ends = ends.to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            hidden = self.model.text_model(input_ids=ids.to(self.device)).last_hidden_state
            pooled = self.model.text_projection(hidden[torch.arange(len(rows), device=self.device), ends])
        tokens = torch.cat([pooled[:, None], hidden], dim=1)
        if self.tokens == "paper":
            return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=self.device)
        mask = torch.arange(length + 1, device=self.device) <= ends[:, None] + 1
        return tokens.masked_fill(~mask[:, :, None], 0.0), mask

    @torch.no_grad()
    def encode_image(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p d"]:
        """Class and patch tokens after the post layer norm and the visual projection, float32, as the published bank.

        Args:
            pixels: in [-1, 1], of ``image_size``; normalised to CLIP's mean and deviation here.
        """
        mean, std = (torch.tensor(values, device=self.device).view(3, 1, 1) for values in (MEAN, STD))
        with torch.autocast(self.device.type, enabled=False):
            pixels = ((pixels.to(self.device).float() + 1) / 2 - mean) / std
            hidden = self.model.vision_model(pixel_values=pixels).last_hidden_state  # before the post layer norm
            return self.model.visual_projection(self.model.vision_model.post_layernorm(hidden))

    def _token_ids(self, words: list[str]) -> list[list[int]]:
        """Start, the prompt, end. The end is the last id of a row, whatever id the model's configuration gives it."""
        texts = [self.prompt(word) for word in words]
        rows = self.tokenizer(texts, padding=False, truncation=False, verbose=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        for word, row in zip(words, rows, strict=True):
            if row[-1] != end:
                raise UserError(
                    f"{self.name}: the tokenizer does not end a text with {self.tokenizer.eos_token}; pass CLIP's own"
                )
            if end in row[:-1]:
                raise UserError(
                    f"word '{word}': holds a character that {self.name}'s tokenizer does not know; leave the word out"
                )
            if len(row) > self.context:
                raise UserError(
                    f"word '{word}': {len(row)} tokens with its prompt, {self.name} takes {self.context}; "
                    "lower model.max_length or pass a shorter prompt (--set dual.prompt=paper)"
                )
        return rows


def load_clip(config: DualConfig) -> ClipDual:
    """Load CLIP from a local folder or from the hub client's cache, on the CPU. Never goes online.

    Raises:
        UserError: transformers is missing, or the weights are not at hand, incomplete, damaged or not CLIP's.
    """
    try:
        from huggingface_hub.errors import StrictDataclassError
        from transformers import AutoTokenizer, CLIPModel
    except ImportError as error:
        raise UserError("dual.kind = clip: needs transformers; type: pip install 'dptr[clip]'") from error
    folder = _find(config.model)
    name = folder.name if Path(config.model).expanduser().is_dir() else config.model
    kind = read_json(folder / "config.json", "CLIP configuration").get("model_type")
    if kind != "clip":
        raise UserError(f"{config.model}: model_type '{kind}', not 'clip'; pass a CLIP checkpoint, such as {EXAMPLE}")
    damaged = (OSError, ValueError, RuntimeError, KeyError, TypeError, EOFError)
    try:
        with _quiet():
            loaded: Any = CLIPModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (*damaged, SafetensorError, pickle.UnpicklingError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{config.model}: not a whole CLIP checkpoint ({reason}); copy or download it anew") from error
    model, info = loaded
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise UserError(
            f"{config.model}: {len(missing)} weights are missing, such as {missing[0]}; both towers are needed; "
            f"pass a full CLIP checkpoint, such as {EXAMPLE}"
        )
    return ClipDual(model, tokenizer, config.prompt, config.tokens, name)


def _find(model: str) -> Path:
    """The folder that holds a checkpoint: the one named, or the hub client's copy of the repository named."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    wanted = model if model.count("/") == 1 else EXAMPLE
    remedy = f"pass --set dual.model=FOLDER, or type: hf download {wanted}, or use --set dual.kind=glyph"
    folder = Path(model).expanduser()
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(model, local_files_only=True))
        except HFValidationError as error:
            raise UserError(f"dual.model = '{model}': no such folder; {remedy}") from error
        except OSError as error:
            raise UserError(
                f"dual.model = '{model}': neither a folder nor downloaded, and DPTR downloads nothing; {remedy}"
            ) from error
    needed = {
        "config.json": ["config.json"],
        "model.safetensors": ["*.safetensors", "pytorch_model*.bin"],
        "vocab.json and merges.txt": ["vocab.json", "tokenizer.json"],
    }
    lacking = [what for what, patterns in needed.items() if not any(any(folder.glob(p)) for p in patterns)]
    if lacking:
        raise UserError(f"dual.model = '{model}': lacks {', '.join(lacking)}; {remedy}")
    return folder


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no multi-line report of ``transformers``: what is wrong is said in one line here."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
