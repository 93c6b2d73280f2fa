"""Writes published.json anew: what the public codes compute with the weights of ``helpers_published``.

``python tests/golden/make_published.py OPENOCR PARSEQ``: folders with the sources of Topdu/OpenOCR and baudm/parseq,
which are run as they are and are no part of this project. Needs torchvision and timm 0.9.16 (baudm/parseq's) beside the
packages of ``[train,clip]``. What their imports ask for and these networks do not use is replaced by empty modules:
``pkg_resources``, ``pytorch_lightning``, and CLIP's vocabulary, of which a tiny one takes the place.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import helpers_published as published

SEED = 0  # of the orders that the public code draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openocr", type=Path)
    parser.add_argument("parseq", type=Path)
    options = parser.parse_args()
    sys.path[:0] = [str(options.openocr), str(options.parseq)]
    dptr = import_dptr()
    with torch.no_grad():
        found = {
            "decoders": {str(depth): run_decoder(dptr, depth) for depth in published.DEPTHS},
            "fmu": run_fmu(dptr),
            "clip": run_clip(dptr),
            "center crop": run_center_crop(dptr),
            "models": {
                "parseq": run_parseq(),
                "openocr": run_openocr(dptr),
                "dptr": run_dptr(dptr),
                "stage 1": run_stage_1(dptr),
            },
        }
    text = json.dumps(found, indent=1)
    published.FILE.write_text(shorten(text) + "\n", encoding="utf-8")
    print(published.FILE, published.FILE.stat().st_size)


def shorten(text: str) -> str:
    """Numbers of one list on one line."""
    return re.sub(r"\[\s+([-+.e\d,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)


def import_dptr() -> Any:
    """The module of DPTR's decoder, with a tiny vocabulary in place of CLIP's."""
    version = types.SimpleNamespace(parse=lambda text: tuple(int(part) for part in text.split("+")[0].split(".")))
    packaging: Any = types.ModuleType("pkg_resources")
    packaging.packaging = types.SimpleNamespace(version=version)
    sys.modules["pkg_resources"] = packaging
    torch.Tensor.get_device = lambda tensor: tensor.device  # -1 on a CPU
    lines = "\n".join(["#version: 0.2", *published.merges()])
    opened, gzip.open = gzip.open, lambda path: io.BytesIO(lines.encode())
    try:
        from openrec.modeling.decoders import dptr_parseq_clip_b_decoder
    finally:
        gzip.open = opened
    return dptr_parseq_clip_b_decoder


def filled(module: Any, shapes: published.Shapes) -> Any:
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert own == shapes, set(own.items()) ^ set(shapes.items())
    module.load_state_dict(published.weights(shapes))
    return module


def numbers(words: list[str], characters: str, longest: int) -> Tensor:
    """BOS, characters, EOS, and PAD up to the longest word there may be, as OpenOCR pads."""
    end, start, pad = 0, len(characters) + 1, len(characters) + 2
    rows = [[start, *(characters.index(each) + 1 for each in word), end] for word in words]
    return torch.tensor([row + [pad] * (longest + 2 - len(row)) for row in rows])


def run_decoder(dptr: Any, depth: int) -> dict[str, Any]:
    """DPTR's decoder of stage 2 behind an FMU: the training loss in orders that are recorded, and readings."""
    characters, longest, width = published.CHARACTERS, published.LONGEST, published.WIDTH
    shapes = published.decoder_shapes(width, depth, characters, longest, "", fmu=True)
    options = {"embed_dim": width, "dec_num_heads": published.HEADS, "dec_depth": depth, "dropout": 0.0}
    model = dptr.DptrParseq(width, characters + 3, max_label_length=longest, is_pretrain=False, **options)
    filled(model, shapes)
    tokens = torch.from_numpy(published.draw("tokens", (len(published.WORDS), published.TOKENS, width)))
    targets = numbers(published.WORDS, "0123456789", longest)
    orders: list[Tensor] = []
    draw = model.gen_tgt_perms
    model.gen_tgt_perms = lambda *arguments: orders.append(draw(*arguments)) or orders[-1]
    torch.manual_seed(SEED)
    loss, first = model.train().training_step(tokens, None, targets, None)
    readings = {}
    model.eval()
    for refinements in (0, 1, 2):
        for left_to_right in (True, False):
            model.refine_iters, model.decode_ar = refinements, left_to_right
            probabilities = model.forward_test(tokens, None, max_length=longest)
            readings[f"{'left to right' if left_to_right else 'parallel'}, {refinements}"] = {
                "symbols": probabilities.argmax(-1).tolist(),
                "probabilities": published.sample(published.cut(probabilities)),
            }
    return {
        "orders": orders[0].tolist(),
        "loss": float(loss),
        "left to right": published.sample(
            torch.cat([row[: len(w) + 1] for row, w in zip(first, published.WORDS, strict=True)])
        ),
        "readings": readings,
    }


def run_fmu(dptr: Any) -> list[float]:
    width = published.WIDTH
    shapes = published.decoder_shapes(width, 1, 10, 7, "", fmu=True)
    shapes = {name[4:]: shape for name, shape in shapes.items() if name.startswith("fmu.")}
    fmu = dptr.FMU(width, published.HEADS, 4 * width).eval()
    given = published.weights({f"fmu.{name}": shape for name, shape in shapes.items()})
    fmu.load_state_dict({name[4:]: tensor for name, tensor in given.items()})
    queries = published.weights({"token_query": (1, published.QUERIES, width)})["token_query"]
    tokens = torch.from_numpy(published.draw("tokens", (3, published.TOKENS, width)))
    return published.sample(fmu(queries.expand(3, -1, -1), tokens))


def tiny_clip(dptr: Any) -> Any:
    width = published.CLIP_WIDTH
    clip = dptr.CLIP(
        width, published.CLIP_PIXELS, published.CLIP_LAYERS, width, published.CLIP_PATCH, 77,
        len(published.vocabulary()), width, width // 64, published.CLIP_LAYERS,
    )  # fmt: skip
    return filled(clip.eval(), published.clip_shapes())


def run_clip(dptr: Any) -> dict[str, Any]:
    clip = tiny_clip(dptr)
    ids = dptr.tokenize([f"a photo of a '{word}'" for word in published.PROMPTED])
    prepare = dptr._transform(published.CLIP_PIXELS)
    pictures = torch.stack([prepare(published.photograph(*size)) for size in published.PHOTOGRAPHS])
    memory, tokens = clip.encode_text(ids), clip.encode_image(pictures)
    return {
        "ids": [row[: int(row.argmax()) + 1].tolist() for row in ids],
        "memory": {"shape": list(memory.shape), "values": published.sample(memory)},
        "image tokens": {"shape": list(tokens.shape), "values": published.sample(tokens)},
    }


def run_center_crop(dptr: Any) -> list[list[float]]:
    """The first two steps of CLIP's preprocessing, pixels from 0 to 255."""
    steps = dptr._transform(published.CLIP_PIXELS).transforms[:2]
    found = []
    for size in published.PHOTOGRAPHS:
        image = published.photograph(*size)
        for step in steps:
            image = step(image)
        found.append(published.sample(torch.from_numpy(np.array(image))))
    return found


def vit() -> Any:
    from openrec.modeling.encoders.vit import ViT

    return ViT(embed_dim=published.TINY, num_heads=published.TINY_HEADS)


class Whole(torch.nn.Module):
    """Encoder and decoder under OpenOCR's names."""

    def __init__(self, encoder: Any, decoder: Any):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


CHARSET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def reading(probabilities: Tensor, tokens: Tensor | None = None) -> dict[str, Any]:
    rows = [row[: row.index(0)] if 0 in row else row for row in probabilities.argmax(-1).tolist()]
    words = ["".join(CHARSET[number - 1] for number in row) for row in rows]
    found: dict[str, Any] = {"words": words, "probabilities": published.sample(published.cut(probabilities))}
    return found if tokens is None else {"tokens": published.sample(tokens), **found}


def run_parseq() -> dict[str, Any]:
    lightning: Any = types.ModuleType("pytorch_lightning")
    sys.modules["pytorch_lightning"] = lightning
    package: Any = types.ModuleType("strhub.models.parseq")  # without its training system
    package.__path__ = [
        str(Path(next(path for path in sys.path if Path(path, "strhub").is_dir()), "strhub/models/parseq"))
    ]
    sys.modules["strhub.models.parseq"] = package
    from strhub.data.utils import Tokenizer
    from strhub.models.parseq.model import PARSeq

    model = PARSeq(
        97, 25, (32, 128), (4, 8), published.TINY, published.TINY_HEADS, 4, 12, published.MODEL_HEADS["parseq"], 4, 1,
        True, 1, 0.1,
    )  # fmt: skip
    filled(model.eval(), published.MODELS["parseq"])
    images = published.pixels(4)
    return reading(model(Tokenizer(CHARSET), images).softmax(-1), model.encode(images))


def run_openocr(dptr: Any) -> dict[str, Any]:
    from openrec.modeling.decoders.parseq_decoder import PARSeqDecoder

    decoder = PARSeqDecoder(
        published.TINY, 97, embed_dim=published.TINY, dec_num_heads=published.MODEL_HEADS["openocr"]
    )
    model = filled(Whole(vit(), decoder).eval(), published.MODELS["openocr"])
    tokens = model.encoder(published.pixels(4))
    return reading(model.decoder(tokens), tokens)


def run_dptr(dptr: Any) -> dict[str, Any]:
    heads = published.MODEL_HEADS["dptr"]
    decoder = dptr.DptrParseq(
        published.TINY, 97, embed_dim=published.TINY, dec_num_heads=heads, dec_depth=2, is_pretrain=False
    )
    model = filled(Whole(vit(), decoder).eval(), published.MODELS["dptr"])
    tokens = model.encoder(published.pixels(4))
    return reading(model.decoder(tokens), tokens)


def run_stage_1(dptr: Any) -> dict[str, Any]:
    """Words spelled from the text tokens of the tiny CLIP."""
    dptr.load = lambda name: (tiny_clip(dptr), None)
    torch.load, loaded = (lambda path, map_location: np.zeros((1, 1, 1))), torch.load
    width, heads = published.CLIP_WIDTH, published.MODEL_HEADS["stage 1"]
    decoder = dptr.DptrParseq(width, 97, embed_dim=width, dec_num_heads=heads, dec_depth=2, ORP_path="none")
    torch.load = loaded
    model = torch.nn.Module()
    model.decoder = decoder
    filled(model.eval(), published.MODELS["stage 1"])
    return reading(decoder(dptr.tokenize([f"a photo of a '{word}'" for word in published.PROMPTED])))


if __name__ == "__main__":
    main()
