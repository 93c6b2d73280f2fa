"""Tiny random CLIPs and their kin on disk, in the format of ``transformers``: no test downloads weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


LETTERS = "abcdefghijklmnopqrstuvwxyz"
CAPITALS, SIGNS = LETTERS.upper(), "0123456789!\"#$%&'()*+,-./:;=?@[]^_"
HAN = "中文字识别测试"  # the ideographs that the tiny tokenizers know
PIECES = ("photo", "of", "the", "letters", "capital")


def tiny_bert_tokenizer() -> Any:
    """Chinese-CLIP's: WordPiece, lower-casing, ideographs apart."""
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{sign}" for sign in LETTERS + "0123456789")]
    vocabulary = [*words, *SIGNS, *HAN, *PIECES]
    return BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)})


def tiny_xlmr_tokenizer() -> Any:
    """AltCLIP's and MetaCLIP 2's: unigrams of SentencePiece without its normalizer; case is kept."""
    from transformers import XLMRobertaTokenizer

    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*specials, "▁", *LETTERS, *CAPITALS, *SIGNS, *HAN, *(f"▁{piece}" for piece in PIECES)]
    scores = [(piece, 0.0 if piece in specials else -float(1 + i % 7)) for i, piece in enumerate(pieces)]
    return XLMRobertaTokenizer(vocab=[*scores, ("<mask>", 0.0)])


def tiny_gemma_tokenizer(lower: bool) -> Any:
    """SigLIP 2's: byte pairs, bytes for what it does not know, ``<eos>`` at the end; NaFlex's class lower-cases."""
    from tokenizers.processors import TemplateProcessing
    from transformers import GemmaTokenizer, Siglip2Tokenizer

    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["▁", *LETTERS, *CAPITALS, *SIGNS]
    merges = [(piece[:i], piece[i]) for piece in PIECES for i in range(1, len(piece))]
    words += dict.fromkeys("".join(merge) for merge in merges)
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    tokenizer = (Siglip2Tokenizer if lower else GemmaTokenizer)(vocab=vocabulary, merges=merges)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", vocabulary["<eos>"])]
    )
    return tokenizer


def tiny_sentencepiece_tokenizer(folder: Path) -> Any:
    """SigLIP's: a real SentencePiece model, trained here on a few lines; ids as in its vocabulary."""
    import sentencepiece
    from transformers import SiglipTokenizer

    lines = [" ".join(PIECES), *LETTERS, *"0123456789", *("a photo of " + LETTERS[i : i + 5] for i in range(20))]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 4),
        model_prefix=str(folder / "spiece"),
        vocab_size=80,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return SiglipTokenizer(str(folder / "spiece.model"))


# By model type: the class of the configuration in transformers, and what it sets beside the towers' sizes.
ARCHITECTURES: dict[str, str] = {
    "metaclip_2": "MetaClip2",
    "siglip": "Siglip",
    "siglip2": "Siglip2",
    "chinese_clip": "ChineseCLIP",
    "altclip": "AltCLIP",
}


def make_tiny(
    model_type: str,
    folder: Path | str,
    *,
    text: int = 32,
    joint: int = 32,
    seed: int = 0,
    tokenizer: Any = None,
    **vision: Any,
) -> Path:
    """Write a random-weight model of a family and a tokenizer of the family's kind to ``folder``; two layers a tower.

    ``text`` and ``joint`` are the widths of the text tower and of the joint space; pictures are 32 x 32, patches 8 x 8.
    ``vision`` overrides the vision tower's settings. No global random state is touched.
    """
    import transformers

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer is None:
        tokenizer = {
            "metaclip_2": tiny_xlmr_tokenizer,
            "siglip": lambda: tiny_sentencepiece_tokenizer(folder),
            "siglip2": lambda: tiny_gemma_tokenizer(lower=True),
            "chinese_clip": tiny_bert_tokenizer,
            "altclip": tiny_xlmr_tokenizer,
        }[model_type]()
    tokenizer.save_pretrained(folder)
    tower = {"hidden_size": text, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    words = {**tower, **ids, "vocab_size": len(tokenizer)}
    positions = {"metaclip_2": 77, "siglip": 64, "siglip2": 64, "chinese_clip": 60, "altclip": 100}[model_type]
    words["max_position_embeddings"] = positions
    if model_type in ("siglip", "siglip2"):
        words["projection_size"] = joint
    if model_type == "altclip":
        words["project_dim"] = text
    siglip = model_type in ("siglip", "siglip2")
    pictures: dict[str, Any] = {**tower, "hidden_size": joint if siglip else 48, "patch_size": 8}
    pictures |= {"num_patches": 16} if model_type == "siglip2" else {"image_size": 32}
    pictures |= vision
    whole = {} if siglip else {"projection_dim": joint}
    name = ARCHITECTURES[model_type]
    config = getattr(transformers, f"{name}Config")(text_config=words, vision_config=pictures, **whole)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, f"{name}Model")(config)
        for parameter in model.parameters():
            # else norms are identities, biases zero, and the tiny initial weights leave all tokens alike
            parameter.data.add_((0.1 if parameter.ndim == 1 else 0.2) * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    return folder
