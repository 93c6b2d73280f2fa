"""Sets of labels without a recognizer: photographs with words at known places."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import numpy as np
from helpers_serve import CROPS
from PIL import Image

from dptr.label.item import Item, Proposal, State
from dptr.label.store import Store
from dptr.photo.page import Outline
from dptr.weights import model_file

SIZE = 200, 100  # of photographs


def upright(left: float, top: float, right: float, bottom: float) -> Outline:
    return (left, top), (right, top), (right, bottom), (left, bottom)


def save_photo(path: Path, seed: int = 0) -> str:
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE[::-1], 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return str(path)


def proposal(text: str, confidence: float = 0.5, state: State = "open", left: float = 10) -> Proposal:
    return Proposal(upright(left, 20, left + 60, 50), text, confidence, state)


def make_set(folder: Path, *words: tuple[str, float, State]) -> Store:
    """A set in ``folder/set`` of one photograph with these words."""
    store = Store(folder / "set")
    held = [proposal(text, confidence, state, 5 + 20 * place) for place, (text, confidence, state) in enumerate(words)]
    assert store.add(save_photo(folder / "photos" / "a.png"), 1, SIZE, held)
    return store


def told(items: list[Item]) -> list[tuple[str, str]]:
    return [(item.text, item.state) for item in items]


def make_words(folder: Path, count: int = 6) -> Store:
    """A set in ``folder/set`` of crops of one word each, all labeled."""
    store = Store(folder / "set")
    rows = (line.split("\t") for line in (CROPS / "labels.tsv").read_text(encoding="utf-8").splitlines())
    for name, label in islice(rows, count):
        with Image.open(CROPS / name) as image:
            word = Proposal((), label, 0.5, "labeled")
            store.add(str(CROPS / name), 1, image.size, [word])
    return store


def fake_training(folder: Path) -> tuple[str, ...]:
    """A program that is told what ``dptr`` is, says so, and leaves what ``dptr`` would, without training.

    Words to learn make it behave: with ``slow`` it waits until its standard input closes, with ``broken`` it fails.
    SIGTERM ends it as it ends ``dptr``.
    """
    script = folder / "fake.py"
    script.write_text(
        "import json, os, pathlib, shutil, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))\n"
        "words = sys.argv[1:]\n"
        "print(json.dumps(words), flush=True)\n"
        "out = pathlib.Path(words[words.index('--out') + 1])\n"
        "if words[0] == 'export':\n"
        f"    shutil.copy({str(model_file('dptr-en-tiny', 'model.onnx'))!r}, out)\n"
        "    sys.exit()\n"
        "(out / 'state' / 'step-000000005').mkdir(parents=True, exist_ok=True)\n"
        "(out / 'state' / 'step-000000005' / 'state.json').write_text('{\"seconds\": 7.5}')\n"
        "(out / 'recipe.json').write_text(json.dumps({'run': {'steps': 10, 'batch_size': 8}}))\n"
        "name = 'word_accuracy' if words[0] == 'finetune' else 'domain'\n"
        "rows = [{'step': 0, 'validation_' + name: 0.5}, {'step': 5, 'loss': 1.0, 'crops_per_second': 9}]\n"
        "(out / 'log.jsonl').write_text(''.join(json.dumps(row) + '\\n' for row in rows))\n"
        "text = pathlib.Path(words[2]).read_text() if words[0] == 'adapt' else ''\n"
        "if 'broken' in text:\n"
        "    sys.exit('dptr: error: the disk is full')\n"
        "if 'slow' in text:\n"
        "    while os.read(0, 99):\n"
        "        pass\n"
        "    sys.exit(130)\n"
    )
    return sys.executable, str(script)
