"""A tiny random CLIP on disk, in the format of ``transformers``: no test downloads weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-ins of the 256 bytes, in its order, which is CLIP's: "!" has id 0, "#" id 2."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


MERGED = ("photo", "of", "the", "letters", "capital")  # one token each, as in CLIP's vocabulary: prompts fit 77 tokens


def _merges(word: str) -> list[str]:
    """Merges that build ``word`` from its left end, the last of which carries the end-of-word mark."""
    return [f"{word[:i]} {word[i]}" + ("</w>" if i == len(word) - 1 else "") for i in range(1, len(word))]


def make_tiny_clip(
    folder: Path | str,
    width: int = 64,
    layers: int = 2,
    seed: int = 0,
    *,
    projection: int | None = None,
    image_size: int = 32,
    patch: int = 8,
    context: int = 77,
    eos_token_id: int | None = None,
    merged: Sequence[str] = MERGED,
) -> Path:
    """Write a random CLIPModel and a byte-level BPE tokenizer (a few merges, lower-casing like CLIP's) to ``folder``.

    Both towers are ``width`` wide with ``layers`` layers; ``projection`` defaults to the same width. Ids are ordered
    as CLIP's: bytes, bytes that end a word, merges, start, end. ``eos_token_id`` overrides the configuration's
    (openai's own checkpoints say 2, which is not the token's id). Words of ``merged`` are one token each, and their
    beginnings are merged wherever they stand.
    No global random state is touched.
    """
    from transformers import CLIPConfig, CLIPModel

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    symbols = byte_symbols()
    merges = [merge for word in merged for merge in _merges(word)]
    words = [*symbols, *(symbol + "</w>" for symbol in symbols), *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    tower = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "projection_dim": projection or width,
    }
    config = CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": context,
            "bos_token_id": start,
            "eos_token_id": end if eos_token_id is None else eos_token_id,
        },
        vision_config={**tower, "image_size": image_size, "patch_size": patch},
        projection_dim=projection or width,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
        for parameter in model.parameters():
            if parameter.ndim == 1:  # else norms are identities and biases zero: a test could not see them left out
                parameter.data.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    return folder
