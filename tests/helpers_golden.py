"""Golden values: what they are computed from, for ``tests/golden/make.py`` that writes them and tests that compare."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

import dptr.training
from dptr.cli.app import run
from dptr.config.model import GlyphDualConfig
from dptr.data.augment import to_pixels
from dptr.dual.glyph.model import load_glyph
from dptr.inference.reader import Prediction, Reader
from dptr.inference.torch_backend import TorchModel
from dptr.utils.images import open_image
from dptr.utils.resize import to_array
from dptr.weights import SHIPPED, model_folders

FOLDER = Path(__file__).resolve().parent / "golden"
CROPS = FOLDER / "crops"
BLANK = "blank.png"  # not among the labels
FONT = FOLDER / "Poppins-Regular.ttf"
SMALL = FOLDER.parent.parent / "models" / "dptr-en-small"
MODELS = {"dptr-latin": "dptr-latin", "dptr-en": "dptr-en", "dptr-en-tiny": "dptr-en-tiny", "dptr-en-small": str(SMALL)}
EIGHT_BITS = "dptr-latin in 8 bits"  # the file that ships; torch reads its weights in float32
EXPORTED = ("dptr-latin", "dptr-en", "dptr-en-tiny")  # with a model.onnx
TTA = ("dptr-en-tiny", 3)
STEPS = 4
GLYPH_WORDS = ["Hi", "24h", "a.b-c"]

_RUN = [
    f"run.steps={STEPS}", "run.batch_size=4", "run.seed=0", "run.device=cpu", "run.precision=no",
    f"run.save_every={STEPS}", f"run.validate_every={STEPS}", "run.log_every=1", "run.tensorboard=false",
    "optim.lr=2e-3", "optim.warmup=0.25", "optim.weight_decay=1", "optim.grad_clip=1", "optim.ema_decay=0.2",
    "corpus.heldout=0.3",
]  # fmt: skip
_DECODER = ["model.decoder.depth=1", "model.decoder.permutations=4"]
_TINY = '{kind="svtr", size="nano", height=16, width=32}'
_GLYPH = ["run.workers=0", "glyph.dim=16", "glyph.heads=2", "glyph.max_length=9", f"glyph.encoder={_TINY}"]
_TEACH = [
    "co_training.text=1", "co_training.images=1", "co_training.residuals=1", "co_training.words=6",
    "co_training.decoder.depth=1", "co_training.decoder.heads=2",
]  # fmt: skip


def _quoted(path: Path) -> str:
    return json.dumps(str(path))


_WORDS = f'corpus.sources=[{{kind="file", path={_quoted(FOLDER / "words.txt")}}}]'
_FONTS = f"render.fonts=[{_quoted(FONT)}]"
_LABELED = [
    "run.workers=0",
    f"data.train=[{_quoted(CROPS)}]",
    f"data.validation=[{_quoted(CROPS)}]",
    "data.augment=0.5",
]

TRAININGS: dict[str, tuple[str, list[str]]] = {
    "align": ("align", [*_GLYPH, _WORDS, _FONTS]),
    "align, teach": ("align", [*_GLYPH, *_TEACH, _WORDS, _FONTS]),
    "pretrain": ("pretrain", [*_DECODER, _WORDS, "bucket=2"]),
    "pretrain, residuals": (
        "pretrain",
        [
            *_DECODER, _WORDS, "orp.bank=residuals", "orp.positions=symbols", "run.gradient_accumulation_steps=2",
        ],
    ),
    "finetune": ("finetune", [*_DECODER, *_LABELED, 'model.encoder.size="nano"', "init.glyph=glyph-en"]),
    "finetune, rendered": (
        "finetune", [*_DECODER, *_LABELED, _WORDS, _FONTS, "data.rendered=0.5", f"model.encoder={_TINY}"],
    ),
    "finetune, onward": (
        "finetune",
        [
            *_LABELED, "data.rendered=0", "init.model=dptr-en-tiny", "distillation.model=dptr-en",
            "encoder_lr_scale=0.1", "fmu_lr_scale=0", "forgetting.rendered=0",
        ],
    ),
    "adapt": (
        "adapt",
        [
            "init.model=dptr-en-tiny", f"text=[{_quoted(FOLDER / 'domain.txt')}]", _WORDS, _FONTS, "domain_crops=12",
            "language_crops=16",
        ],
    ),
}  # fmt: skip
"""By name a training command and its settings: networks of one thin layer, or the smallest that ships."""


def crops() -> list[Path]:
    """All pictures, the blank one too, by name."""
    return sorted(CROPS.glob("*.png"))


def open_reader(model: str, backend: str, **options: Any) -> Reader:
    """A reader of one of ``MODELS`` by ``onnx`` or by ``torch``."""
    reader = Reader(MODELS[model], **options)
    if backend == "torch":
        reader.backend = TorchModel(MODELS[model])
    return reader


def readings(reader: Reader) -> dict[str, dict[str, Any]]:
    """By crop what is read, in full precision."""
    paths = crops()
    return {path.name: _plain(word) for path, word in zip(paths, reader.read(paths), strict=True)}


def _plain(word: Prediction) -> dict[str, Any]:
    characters = [float(probability) for _, probability in word.characters]
    return {"text": word.text, "confidence": word.confidence, "characters": characters, "turned": word.turned}


def rounded(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Readings as the golden file holds them: confidence to 6 digits, characters to 4."""
    return {
        name: {
            **word,
            "confidence": round(word["confidence"], 6),
            "characters": [round(each, 4) for each in word["characters"]],
        }
        for name, word in found.items()
    }


def glyph_values() -> dict[str, Any]:
    """Of glyph-en: its fingerprint, some text tokens, and some slots of the first two crops."""
    dual = load_glyph(GlyphDualConfig())
    tokens, _ = dual.encode_text(GLYPH_WORDS)
    pictures = [to_array(open_image(path), *dual.image_size) for path in crops()[:2]]
    slots = dual.encode_image(to_pixels(np.stack(pictures)))
    return {
        "fingerprint": dual.fingerprint,
        "text": {word: _some(rows) for word, rows in zip(GLYPH_WORDS, tokens, strict=True)},
        "slots": {path.name: _some(rows) for path, rows in zip(crops(), slots, strict=False)},
    }


def _some(rows: torch.Tensor) -> dict[str, Any]:
    """The first four numbers of the first three tokens, and each token's length."""
    first = [[round(float(value), 5) for value in row[:4]] for row in rows[:3]]
    return {"first": first, "norms": [round(float(norm), 5) for norm in rows.norm(dim=-1)]}


def digests() -> dict[str, str]:
    """SHA-256 of every file of weights that ships, and of the larger model in the repository."""
    folders = [*(folder for name in SHIPPED for folder in model_folders(name)), SMALL]
    files = [file for folder in folders for suffix in ("safetensors", "onnx") for file in folder.glob(f"*.{suffix}")]
    return {f"{file.parent.name}/{file.name}": sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def train(name: str, out: Path) -> dict[str, Any]:
    """Run one of ``TRAININGS``: its losses by step, and a number that depends on every weight of what is kept."""
    command, settings = TRAININGS[name]
    sets = [part for setting in [*_RUN, *settings] for part in ("--set", setting)]
    with _quick():
        assert run([command, "--out", str(out), *sets]) == 0
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [
        {key: value for key, value in line.items() if key != "step" and not key.endswith("_per_second")}
        for line in lines
        if "loss" in line
    ]
    return {"steps": steps, "weights": _projected(out / "model" / "model.safetensors")}


def _projected(file: Path) -> float:
    """The sum of all weights, each times the cosine of its place: no change of many weights leaves it alone."""
    tensors = load_file(file)
    floats = [tensors[name] for name in sorted(tensors) if tensors[name].is_floating_point()]
    weights = torch.cat([tensor.double().flatten() for tensor in floats])
    return float((weights * torch.arange(len(weights), dtype=torch.float64).cos()).sum())


@contextmanager
def _quick() -> Iterator[None]:
    """One thread, and few words to validate on, wherever in ``dptr.training`` their number stands; losses stay."""
    modules = [import_module(found.name) for found in pkgutil.walk_packages(dptr.training.__path__, "dptr.training.")]
    names = ("RENDERED_VALIDATION", "VALIDATION")
    before = [(module, name, getattr(module, name)) for module in modules for name in names if hasattr(module, name)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for module, name, _ in before:
        setattr(module, name, 8)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for module, name, number in before:
            setattr(module, name, number)
