"""The public codes' networks in miniature: their names and shapes, weights from a seed, and what is compared.

``tests/golden/make_published.py`` runs the public codes with these weights and writes ``published.json``; tests build
the same weights, import them, and compare. Weights come from ``RandomState``, whose stream NumPy keeps for ever.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

FOLDER = Path(__file__).resolve().parent / "golden"
FILE = FOLDER / "published.json"
Shapes = dict[str, tuple[int, ...]]

CHARACTERS = 10  # of the decoders that are compared alone: digits
LONGEST = 7
DEPTHS = (1, 2, 6)
WORDS = ["4071", "9", "3141592", "55", "206"]  # trained on
WIDTH, HEADS = 32, 4  # of these decoders
QUERIES = 26  # as the public code has them
TOKENS = 9  # image tokens that the FMU attends to
MEMORY = 6  # memory tokens of a decoder without one

TINY, TINY_HEADS = 192, 3  # PARSeq-Ti: the smallest image encoder that both have
CLIP_WIDTH, CLIP_LAYERS, CLIP_PIXELS, CLIP_PATCH = 64, 2, 32, 8
MERGED = ("photo", "of")  # one token each in the tiny vocabulary
PROMPTED = ["Tea", "4071", "it's", "a-b"]
PHOTOGRAPHS = [(50, 90), (97, 41), (32, 32), (33, 64)]  # height, width


def draw(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Standard normal numbers, by name."""
    return np.random.RandomState(zlib.crc32(name.encode()) ^ seed).standard_normal(shape).astype(np.float32)


def weights(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Weights with which signals keep their size, norms and biases do something."""
    filled = {}
    for name, shape in shapes.items():
        values = draw(name, shape, seed)
        if len(shape) == 1:
            values = 0.1 * values + name.endswith("weight")
        elif name.rpartition(".")[2] in ("pos_queries", "pos_embed", "token_query"):
            values *= 0.5
        else:
            sharp = 2 if name.endswith("head.weight") and len(values) > 50 else 1  # of many classes one stands out
            values *= sharp * np.prod(shape[1:]) ** -0.5
        if name.endswith("head.bias"):
            values[0] += 2  # so that words end
        filled[name] = torch.from_numpy(values.astype(np.float32))
    return filled


def linear(name: str, inside: int, out: int) -> Shapes:
    return {f"{name}.weight": (out, inside), f"{name}.bias": (out,)}


def norms(dim: int, *names: str) -> Shapes:
    return {f"{name}.{part}": (dim,) for name in names for part in ("weight", "bias")}


def attention(name: str, dim: int) -> Shapes:
    """torch's ``nn.MultiheadAttention``."""
    packed: Shapes = {f"{name}.in_proj_weight": (3 * dim, dim), f"{name}.in_proj_bias": (3 * dim,)}
    return packed | linear(f"{name}.out_proj", dim, dim)


def vit_shapes(dim: int, depth: int, prefix: str = "encoder.", height: int = 32, width: int = 128) -> Shapes:
    """Patches of 4x8: ``timm``'s names, which OpenOCR keeps."""
    shapes: Shapes = {
        "pos_embed": (1, height // 4 * (width // 8), dim),
        "patch_embed.proj.weight": (dim, 3, 4, 8),
        "patch_embed.proj.bias": (dim,),
    }
    for each in (f"blocks.{number}" for number in range(depth)):
        shapes |= norms(dim, f"{each}.norm1", f"{each}.norm2")
        shapes |= linear(f"{each}.attn.qkv", dim, 3 * dim) | linear(f"{each}.attn.proj", dim, dim)
        shapes |= linear(f"{each}.mlp.fc1", dim, 4 * dim) | linear(f"{each}.mlp.fc2", 4 * dim, dim)
    return {prefix + name: shape for name, shape in (shapes | norms(dim, "norm")).items()}


def decoder_shapes(
    dim: int, depth: int, characters: int, longest: int, prefix: str = "decoder.", fmu: bool = False
) -> Shapes:
    """A PARSeq decoder; with ``fmu`` DPTR's of stage 2."""
    shapes: Shapes = {"pos_queries": (1, longest + 1, dim), "text_embed.embedding.weight": (characters + 3, dim)}
    for each in (f"decoder.layers.{number}" for number in range(depth)):
        shapes |= attention(f"{each}.self_attn", dim) | attention(f"{each}.cross_attn", dim)
        shapes |= linear(f"{each}.linear1", dim, 4 * dim) | linear(f"{each}.linear2", 4 * dim, dim)
        shapes |= norms(dim, *(f"{each}.{name}" for name in ("norm1", "norm2", "norm_q", "norm_c")))
    shapes |= norms(dim, "decoder.norm") | linear("head", dim, characters + 1)
    if fmu:
        shapes |= {"token_query": (1, QUERIES, dim)} | attention("fmu.cross_attn", dim) | norms(dim, "fmu.norm")
        shapes |= linear("fmu.linear1", dim, 4 * dim) | linear("fmu.linear2", 4 * dim, dim)
    return {prefix + name: shape for name, shape in shapes.items()}


def clip_shapes() -> Shapes:
    """openai/CLIP's: two towers as wide as their joint space."""
    width, tokens = CLIP_WIDTH, (CLIP_PIXELS // CLIP_PATCH) ** 2 + 1
    shapes: Shapes = {
        "positional_embedding": (77, width),
        "text_projection": (width, width),
        "logit_scale": (),
        "token_embedding.weight": (len(vocabulary()), width),
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (tokens, width),
        "visual.proj": (width, width),
        "visual.conv1.weight": (width, 3, CLIP_PATCH, CLIP_PATCH),
    }
    for tower in ("", "visual."):
        for each in (f"{tower}transformer.resblocks.{number}" for number in range(CLIP_LAYERS)):
            shapes |= attention(f"{each}.attn", width) | norms(width, f"{each}.ln_1", f"{each}.ln_2")
            shapes |= linear(f"{each}.mlp.c_fc", width, 4 * width) | linear(f"{each}.mlp.c_proj", 4 * width, width)
    return shapes | norms(width, "ln_final", "visual.ln_pre", "visual.ln_post")


def merges() -> list[str]:
    """Merges that make each of ``MERGED`` one token of CLIP's tokenizer."""
    return [
        f"{word[:i]} {word[i]}" + ("</w>" if i == len(word) - 1 else "") for word in MERGED for i in range(1, len(word))
    ]


def vocabulary() -> list[str]:
    """CLIP's, with these merges alone."""
    from helpers_clip import byte_symbols

    symbols = byte_symbols()
    whole = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *(merge.replace(" ", "") for merge in merges())]
    return [*whole, "<|startoftext|>", "<|endoftext|>"]


# The networks that are imported whole, by family: their shapes.
MODELS: dict[str, Shapes] = {
    "parseq": vit_shapes(TINY, 12) | decoder_shapes(TINY, 1, 94, 25, prefix=""),
    "openocr": vit_shapes(TINY, 12) | decoder_shapes(TINY, 1, 94, 25),
    "dptr": vit_shapes(TINY, 12) | decoder_shapes(TINY, 2, 94, 25, fmu=True),
    "stage 1": decoder_shapes(CLIP_WIDTH, 2, 94, 25)
    | {f"decoder.clip_encoder.{name}": shape for name, shape in clip_shapes().items()},
}
MODEL_HEADS = {"parseq": 6, "openocr": 6, "dptr": 3, "stage 1": 1}  # of the decoder: a head is 32 or 64 wide


def pixels(count: int, height: int = 32, width: int = 128) -> Tensor:
    """Random images in [-1, 1], blurred: each pixel is the mean of 4x8, so that images differ in more than noise."""
    coarse = torch.from_numpy(draw("pixels", (count, 3, height // 4, width // 8)))
    return coarse.clamp(-2, 2).div(2).repeat_interleave(4, 2).repeat_interleave(8, 3)


def photograph(height: int, width: int) -> Image.Image:
    """Coarse noise, smoothly enlarged."""
    coarse = np.random.RandomState(height * width).randint(0, 256, (6, 9, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


def sample(values: Tensor) -> list[float]:
    """24 values at even distances, and a sum that depends on every one."""
    flat = values.detach().flatten().double()
    places = torch.linspace(0, len(flat) - 1, 24).long()
    whole = (flat * torch.arange(len(flat), dtype=torch.float64).cos()).sum() / len(flat) ** 0.5
    return [round(float(value), 7) for value in (*flat[places], whole)]


def close(found: Tensor, expected: list[float]) -> None:
    """Fails where ``sample`` of what was found is not what was expected, to 1e-5."""
    torch.testing.assert_close(torch.tensor(sample(found)), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def cut(probabilities: Tensor) -> Tensor:
    """Probabilities of all words, one after the other, each up to its first EOS: what follows means nothing."""
    ends = [(row.argmax(-1) == 0).nonzero().flatten().tolist() for row in probabilities]
    return torch.cat([row[: end[0] + 1] if end else row for row, end in zip(probabilities, ends, strict=True)])


def golden() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def tiny_clip(folder: Path, tensors: dict[str, Tensor] | None = None) -> Path:
    """The CLIP of ``clip_shapes`` in the format of ``transformers``, with these weights or with those of its names."""
    from transformers import CLIPConfig, CLIPModel

    folder.mkdir(parents=True, exist_ok=True)
    words = vocabulary()
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges()]) + "\n", encoding="utf-8")
    tower = {
        "hidden_size": CLIP_WIDTH, "intermediate_size": 4 * CLIP_WIDTH, "num_hidden_layers": CLIP_LAYERS,
        "num_attention_heads": 1, "projection_dim": CLIP_WIDTH,
    }  # fmt: skip
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    model = CLIPModel(
        CLIPConfig(
            text_config={**tower, **ends, "vocab_size": len(words), "max_position_embeddings": 77},
            vision_config={**tower, "image_size": CLIP_PIXELS, "patch_size": CLIP_PATCH},
            projection_dim=CLIP_WIDTH,
        )
    )
    model.load_state_dict(_transformers_names(tensors or weights(clip_shapes())), strict=True)
    model.save_pretrained(folder)
    return folder


def _transformers_names(clip: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {"logit_scale": clip["logit_scale"], "text_projection.weight": clip["text_projection"].T.contiguous()}
    named["visual_projection.weight"] = clip["visual.proj"].T.contiguous()
    named["text_model.embeddings.token_embedding.weight"] = clip["token_embedding.weight"]
    named["text_model.embeddings.position_embedding.weight"] = clip["positional_embedding"]
    named["vision_model.embeddings.class_embedding"] = clip["visual.class_embedding"]
    named["vision_model.embeddings.position_embedding.weight"] = clip["visual.positional_embedding"]
    named["vision_model.embeddings.patch_embedding.weight"] = clip["visual.conv1.weight"]
    layer = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    layer["attn.out_proj"] = "self_attn.out_proj"
    for part in ("weight", "bias"):
        named[f"text_model.final_layer_norm.{part}"] = clip[f"ln_final.{part}"]
        named[f"vision_model.pre_layrnorm.{part}"] = clip[f"visual.ln_pre.{part}"]  # spelled so in transformers
        named[f"vision_model.post_layernorm.{part}"] = clip[f"visual.ln_post.{part}"]
        for tower, ours in (("", "text_model"), ("visual.", "vision_model")):
            for number in range(CLIP_LAYERS):
                theirs, each = f"{tower}transformer.resblocks.{number}", f"{ours}.encoder.layers.{number}"
                for name, renamed in layer.items():
                    named[f"{each}.{renamed}.{part}"] = clip[f"{theirs}.{name}.{part}"]
                packed = clip[f"{theirs}.attn.in_proj_{part}"].chunk(3)
                for name, tensor in zip("qkv", packed, strict=True):
                    named[f"{each}.self_attn.{name}_proj.{part}"] = tensor.contiguous()
    return named


def text_memory() -> Tensor:
    """What the frozen CLIP of "stage 1" makes of ``PROMPTED``, with padding."""
    import tempfile

    from dptr.config.model import ClipDualConfig
    from dptr.dual.clip.encoder import load_clip

    prefix = "decoder.clip_encoder."
    held = {name: tensor for name, tensor in weights(MODELS["stage 1"]).items() if name.startswith(prefix)}
    with tempfile.TemporaryDirectory() as folder:
        made = tiny_clip(Path(folder), {name.removeprefix(prefix): tensor for name, tensor in held.items()})
        config = ClipDualConfig(model=str(made), tokens="paper")
        return load_clip(config).encode_text(PROMPTED)[0]
