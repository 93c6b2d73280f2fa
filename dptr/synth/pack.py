"""Packs: crops rendered once, for training to read many times.

A core renders some 480 crops a second, about as many as a small recognizer learns from; read from a pack, crops cost
nothing. A pack is a folder of shards, each a safetensors file of ``SHARD`` crops at their final size with the letters'
places and the words, written whole or not at all: an interrupted ``dptr synth`` goes on with the missing shards.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from dptr.config.size import CropSize
from dptr.config.train import SynthRecipe
from dptr.data.loader import pad_stops
from dptr.data.sources import Sample, seeded_order
from dptr.synth import worker
from dptr.synth.manifest import describe_recipe, same_crops
from dptr.synth.source import RenderedWords
from dptr.synth.worker import make_source
from dptr.text.charset import Charset, check_label
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, remove_partial, save_tensors, write_json
from dptr.utils.widths import is_valid_size

SHARD = 5000  # crops, about 60 MB at 32x128
RECIPE = "pack.json"


@dataclass(frozen=True)
class _Shard:
    crops: torch.Tensor  # uint8 (n, h, w, 3), mapped from the file; (all columns, h, 3) where they are of several
    ends: np.ndarray  # the column after each crop's last one, (n); empty where all are of one width
    stops: torch.Tensor  # float16 (n, letters, 2), mapped
    words: list[str]

    def crop(self, row: int) -> np.ndarray:
        """uint8 (h, own width, 3)."""
        if not len(self.ends):
            return self.crops[row].numpy()
        return self.crops[self.ends[row - 1] if row else 0 : self.ends[row]].numpy().swapaxes(0, 1)

    def size(self) -> tuple[int, int, int]:
        """Height, least and greatest width of its crops."""
        if not len(self.ends):
            return (self.crops.shape[1], self.crops.shape[2], self.crops.shape[2])
        widths = np.diff(self.ends, prepend=0)
        return self.crops.shape[1], int(widths.min()), int(widths.max())


@dataclass(frozen=True)
class Pack:
    """Crops of a pack in a new seeded order each epoch: a ``Source``.

    Args:
        folder: of the pack.
        rows: which crops, by number.
        seed: of the orders.
    """

    folder: Path
    rows: np.ndarray
    seed: int

    def sample(self, index: int) -> Sample:
        shard, row = self._place(index)
        word = shard.words[row]
        return shard.crop(row), word, shard.stops[row, : len(word)].float().numpy()

    def word(self, index: int) -> str:
        shard, row = self._place(index)
        return shard.words[row]

    def _place(self, index: int) -> tuple[_Shard, int]:
        epoch, place = divmod(index, len(self.rows))
        row = int(self.rows[seeded_order(self.seed, epoch, len(self.rows))[place]])
        return _open_shard(self.folder / _name(row // SHARD)), row % SHARD


def open_pack(
    folder: str | Path, charset: Charset, max_length: int, size: CropSize, seed: int
) -> tuple[Pack, list[str]]:
    """A pack to train on, and lines for the log: words that the charset cannot write are left out and counted.

    Pictures without text are among them, with the word "".

    Raises:
        UserError: no pack there, an unfinished or damaged one, crops of another size, or no crop is left.
    """
    folder = Path(folder)
    if not (folder / RECIPE).is_file():
        raise UserError(f"pack {folder}: no {RECIPE} in it; make one with 'dptr synth --out {folder}'")
    count = read_json(folder / RECIPE, "pack")["count"]
    rows: list[int] = []
    dropped: dict[str, int] = {}
    for number, start in enumerate(range(0, count, SHARD)):
        shard = _open_shard(folder / _name(number))
        high, least, most = shard.size()
        if not all(is_valid_size((high, wide, 3), size.height, size.width, size.max_width) for wide in (least, most)):
            held = f" to {high}x{most}" if most > least else ""
            taken = f" to {size.height}x{size.max_width}" if size.max_width else ""
            raise UserError(
                f"pack {folder}: crops of {high}x{least}{held} pixels where the encoder takes "
                f"{size.height}x{size.width}{taken}; make one with --set size.height={size.height} "
                f"--set size.width={size.width} --set size.max_width={size.max_width}"
            )
        for row, word in enumerate(shard.words):
            label, reason = check_label(word, charset, max_length)
            if not word:  # a picture without text
                reason = None
            elif reason is None and label != word:
                reason = "written otherwise in this charset"
            if reason is None:
                rows.append(start + row)
            else:
                dropped[reason] = dropped.get(reason, 0) + 1
    if not rows:
        raise UserError(f"pack {folder}: none of its {count} words can be used ({dropped}); make one for this charset")
    left_out = f"; left out: {', '.join(f'{n} {reason}' for reason, n in dropped.items())}" if dropped else ""
    return Pack(folder, np.array(rows), seed), [f"pack {folder}: {len(rows):,} rendered crops{left_out}"]


def write_pack(
    recipe: SynthRecipe,
    count: int,
    folder: Path,
    workers: int = 1,
    resume: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    part: tuple[int, int] = (0, 1),
) -> None:
    """Render samples 0..count-1 of ``recipe`` into ``folder``.

    Args:
        count: crops; a multiple of ``SHARD`` or a last, smaller shard.
        workers: processes that render; 1 = this one.
        resume: go on with a folder that already holds a pack of this recipe, also to make it larger.
        progress: called with the number of crops done, by whoever did them.
        part: (i, n) = every n-th shard from the i-th on: n jobs together, in any order or at once, make the pack.

    Raises:
        UserError: ``folder`` holds a pack and neither ``resume`` nor a part is asked for, or one of another recipe;
            what rendering raises.
    """
    described = {**describe_recipe(recipe), "shard": SHARD}
    path = folder / RECIPE
    if path.exists():
        before = read_json(path, "pack")
        if not resume and part == (0, 1):
            raise UserError(f"{folder}: already holds a pack; pass --resume to go on with it, or another --out")
        if not same_crops({**before, "count": 0}, {**described, "count": 0}):
            raise UserError(f"{folder}: holds a pack of another recipe; pass the same settings, or another --out")
        count = max(count, before["count"])
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: not empty and no pack; pass another --out")
    source = make_source(recipe)  # raises what is wrong with the recipe before anything is written
    if part == (0, 1):  # else other jobs may be writing there
        remove_partial(folder)
    write_json(path, {**described, "count": count})
    spans = [(start, min(start + SHARD, count)) for start in range(0, count, SHARD)]
    missing = [span for span in spans if not _holds(folder / _name(span[0] // SHARD), span[1] - span[0])]
    done = count - sum(last - first for first, last in missing)
    progress(done)
    missing = [span for span in missing if span[0] // SHARD % part[1] == part[0]]
    if not missing:
        return
    if workers == 1:
        for first, last in missing:
            _write_shard(source, folder, first, last)
            done += last - first
            progress(done)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(missing)), worker.start_worker, (recipe,)) as pool:
        for written in pool.imap_unordered(partial(_work, folder), missing):
            done += written
            progress(done)


def _work(folder: Path, span: tuple[int, int]) -> int:
    _write_shard(worker.worker_source(), folder, *span)
    return span[1] - span[0]


def _write_shard(source: RenderedWords, folder: Path, first: int, last: int) -> None:
    samples = [source.sample(index) for index in range(first, last)]
    crops = [crop for crop, _, _ in samples]
    ragged = bool(source.renderer.size.max_width)
    tensors = {
        "crops": torch.from_numpy(
            np.concatenate([crop.swapaxes(0, 1) for crop in crops]) if ragged else np.stack(crops)
        ),
        "stops": torch.from_numpy(pad_stops([stops for _, _, stops in samples])).half(),
    }
    if ragged:
        tensors["ends"] = torch.from_numpy(np.cumsum([crop.shape[1] for crop in crops]))
    words = json.dumps([word for _, word, _ in samples], ensure_ascii=False)
    save_tensors(folder / _name(first // SHARD), tensors, {"words": words})


def _name(number: int) -> str:
    return f"crops-{number:06d}.safetensors"


def _holds(path: Path, count: int) -> bool:
    return path.is_file() and len(_read_shard(path).words) == count


@lru_cache(maxsize=1024)
def _open_shard(path: Path) -> _Shard:
    return _read_shard(path)


def _read_shard(path: Path) -> _Shard:
    try:
        with safe_open(path, "pt") as file:
            ends = file.get_tensor("ends").numpy() if "ends" in file.keys() else np.empty(0, np.int64)  # noqa: SIM118
            words = json.loads(file.metadata()["words"])
            return _Shard(file.get_tensor("crops"), ends, file.get_tensor("stops"), words)
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a whole shard ({error}); delete the file and run the same 'dptr synth' with --resume"
        ) from error
