"""Sets of labels without a recognizer: photographs with words at known places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dptr.label.item import Item, Proposal, State
from dptr.label.store import Store
from dptr.photo.page import Outline

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
