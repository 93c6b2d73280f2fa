"""Measure what a recognizer reads in pictures without text: patches between the words of photographs, and plain ones.

python research/evidence/silence.py --scenes "$DPTR_DATA/ic15/scenes" [--photographs "$DPTR_DATA/natural"]

Patches of ``--scenes`` overlap no labeled box, legible or not. Photographs often contain letters without a label, so
some of the readings are right. ``--out FOLDER`` writes the patches with the most confident readings for inspection.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from dptr import Reader

PATCHES = 1000  # of each source
LOWEST, HIGHEST = 16, 120  # pixels
LONGEST = 8.0  # largest ratio of width to height
TRIES = 200  # positions that are tried in a photograph for one patch


def load_scenes(folder: Path) -> list[tuple[Image.Image, Image.Image]]:
    """Photographs, each with a mask that is white on labeled words and on a margin of 6 pixels around them."""
    boxes: dict[str, list[list[float]]] = {}
    for line in (folder / "words.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, *corners, _ = line.split("\t")
            boxes.setdefault(name, []).append([float(corner) for corner in corners])
    scenes = []
    for name, word_boxes in boxes.items():
        image = Image.open(folder / name).convert("RGB")
        mask = Image.new("L", image.size)
        for box in word_boxes:
            points = list(zip(box[::2], box[1::2], strict=True))
            ImageDraw.Draw(mask).polygon(points, fill=255, outline=255, width=12)
        scenes.append((image, mask))
    return scenes


def load_photographs(folder: Path) -> list[tuple[Image.Image, Image.Image]]:
    images = [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg"))]
    return [(image, Image.new("L", image.size)) for image in images]


def cut_patches(images: Sequence[tuple[Image.Image, Image.Image]], count: int, rng: Generator) -> list[Image.Image]:
    """Cut patches without a labeled pixel, of random sizes, evenly from all images.

    Raises:
        ValueError: there is no such patch in any image.
    """
    patches: list[Image.Image] = []
    rounds = 0
    while len(patches) < count and rounds < count:
        for image, mask in images:
            box = _find_place(mask, rng)
            if box is not None and len(patches) < count:
                patches.append(image.crop(box))
        rounds += 1
        if not patches:
            raise ValueError("no place without a labeled word in any image")
    return patches


def _find_place(mask: Image.Image, rng: Generator) -> tuple[int, int, int, int] | None:
    for _ in range(TRIES):
        height = round(np.exp(rng.uniform(np.log(LOWEST), np.log(HIGHEST))))
        width = round(height * np.exp(rng.uniform(0, np.log(LONGEST))))
        if width >= mask.width or height >= mask.height:
            continue
        left, top = int(rng.integers(mask.width - width)), int(rng.integers(mask.height - height))
        box = (left, top, left + width, top + height)
        if mask.crop(box).getbbox() is None:
            return box
    return None


def _plain(color: int) -> Callable[[int, int, Generator], np.ndarray]:
    return lambda height, width, rng: np.full((height, width, 3), color)


def _noise(height: int, width: int, rng: Generator) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3))


def _ramp(height: int, width: int, rng: Generator) -> np.ndarray:
    first, last = rng.uniform(0, 255, (2, 1, 1, 3))
    return first + (last - first) * np.linspace(0, 1, width)[None, :, None] * np.ones((height, 1, 1))


DRAWN: dict[str, Callable[[int, int, Generator], np.ndarray]] = {
    "white": _plain(255),
    "black": _plain(0),
    "gray": _plain(128),
    "noise": _noise,
    "gradient": _ramp,
}


def draw_pictures(draw: Callable[[int, int, Generator], np.ndarray], rng: Generator) -> Iterator[Image.Image]:
    """Twenty pictures of height 32, with aspect ratios from 0.5 to 20."""
    for aspect in np.geomspace(0.5, 20, 20):
        yield Image.fromarray(draw(32, max(1, round(32 * aspect)), rng).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a folder for patches in which something was read")
    options = parser.parse_args()
    rng = np.random.Generator(np.random.Philox(options.seed))
    reader = Reader(options.model)
    sources = {"scenes, between the words": cut_patches(load_scenes(options.scenes), PATCHES, rng)}
    if options.photographs:
        sources["photographs"] = cut_patches(load_photographs(options.photographs), PATCHES, rng)
    sources |= {name: list(draw_pictures(draw, rng)) for name, draw in DRAWN.items()}
    print("| pictures | number | nothing read | below a confidence of 0.4 too |\n|---|---:|---:|---:|")
    for name, pictures in sources.items():
        readings = reader.read(pictures)
        silent = sum(not reading.text.strip() for reading in readings)
        doubtful = sum(not reading.text.strip() or reading.confidence < 0.4 for reading in readings)
        number = len(pictures)
        print(f"| {name} | {number} | {silent / number:.1%} | {doubtful / number:.1%} |", flush=True)
        if options.out and len(pictures) == PATCHES:
            options.out.mkdir(parents=True, exist_ok=True)
            loud = sorted((r.confidence, r.text, i) for i, r in enumerate(readings) if r.text.strip())[::-1]
            for rank, (confidence, _, index) in enumerate(loud[:60]):
                pictures[index].save(options.out / f"{name.split(',')[0]}-{rank:02}-{confidence:.2f}.png")


if __name__ == "__main__":
    main()
