"""Packs: crops that are rendered once and read many times in training.

A CPU core renders about 480 crops a second, about as many as a small recognizer learns from in that time. Reading crops
from a pack costs almost nothing.

A pack is a folder of files, called shards, of ``SHARD`` crops each. A shard holds the crops in their final size, the
positions of their letters, and their words. It is written completely or not at all, so an interrupted ``dptr synth``
continues with the missing shards. There are two formats:

- safetensors: crops are memory-mapped.
- Parquet: a quarter of the size. Such a pack is a set of shards (``dptr.shards``), which every reader of labeled crops
  can read.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from safetensors import SafetensorError, safe_open

from dptr.config.data import DataConfig
from dptr.config.size import CropSize
from dptr.config.train import SynthRecipe
from dptr.data.loader import pad_stops
from dptr.data.shards import OTHERWISE, StreamedCrops, drops_of, stream_crops
from dptr.data.sources import ByRows, Sample
from dptr.shards.shard_set import is_shards
from dptr.synth import worker
from dptr.synth.datasets import encode_png
from dptr.synth.manifest import check_unstretched, check_words, describe_recipe, same_crops
from dptr.synth.source import RenderedWords, Tell
from dptr.synth.worker import make_source
from dptr.text.charset import Charset, check_label
from dptr.utils.errors import UserError
from dptr.utils.extras import require_extras
from dptr.utils.files import read_json, remove_partial, write_json
from dptr.utils.outputs import check_folder
from dptr.utils.permutations import seeded_order
from dptr.utils.sizes import by_shape
from dptr.utils.tensors import save_tensors

SHARD = 5000  # crops, about 60 MB at 32x128
RECIPE = "pack.json"  # the manifest


@dataclass(frozen=True)
class _Shard:
    """An open safetensors file of a pack; tensors are memory-mapped."""

    crops: torch.Tensor  # uint8 (n, h, w, 3); for crops of several sizes (values,), all crops one after the other
    sizes: np.ndarray  # (n, 2), height and width of each crop
    starts: np.ndarray  # (n,), index in ``crops`` of each crop's first value; empty if all crops have one size
    stops: torch.Tensor  # float16 (n, letters, 2)
    words: list[str]

    def crop(self, row: int) -> np.ndarray:
        """Crop number ``row`` of the shard: uint8 (h, w, 3)."""
        if not len(self.starts):
            return self.crops[row].numpy()
        height, width = self.sizes[row]
        start = self.starts[row]
        return self.crops[start : start + 3 * height * width].numpy().reshape(height, width, 3)


@dataclass(frozen=True)
class Pack(ByRows):
    """A ``Source`` of the crops of a safetensors pack, in a new random order each epoch.

    Args:
        folder: of the pack.
        rows: numbers of the crops to use.
        seed: of the random orders.
    """

    folder: Path
    rows: np.ndarray
    seed: int

    def __len__(self) -> int:
        """The number of crops in an epoch."""
        return len(self.rows)

    def sample(self, index: int) -> Sample:
        shard, row = self._place(index)
        word = shard.words[row]
        return shard.crop(row), word, shard.stops[row, : len(word)].float().numpy()

    def word(self, index: int) -> str:
        shard, row = self._place(index)
        return shard.words[row]

    def sizes(self) -> Int[np.ndarray, "n 2"]:
        """Height and width in pixels of each crop."""
        count = int(self.rows.max()) // SHARD + 1
        sizes = np.concatenate([_open_shard(self.folder / _name(number)).sizes for number in range(count)])
        return sizes[self.rows]

    def choose(self, rows: np.ndarray, stream: int) -> Pack:
        """A source of some of the crops; each ``stream`` has its own random orders."""
        return Pack(self.folder, self.rows[rows], self.seed + (stream << 48))

    def _place(self, index: int) -> tuple[_Shard, int]:
        epoch, place = divmod(index, len(self.rows))
        row = int(self.rows[seeded_order(self.seed, epoch, len(self.rows))[place]])
        return _open_shard(self.folder / _name(row // SHARD)), row % SHARD


def open_pack(
    folder: str | Path,
    charset: Charset,
    max_length: int,
    size: CropSize,
    seed: int,
    window: int = DataConfig().window,
    cache: str = "",
) -> tuple[Pack | StreamedCrops, list[str]]:
    """Open a pack to train on.

    Crops whose word ``check_label`` rejects or changes are left out and counted. Pictures without text stay, with the
    word "".

    Args:
        folder: a pack. Parquet shards are streamed.
        seed: of the random orders.
        window, cache: only for Parquet shards, see ``stream_crops``.

    Returns:
        The source, and lines for the log.

    Raises:
        UserError: there is no pack, it is unfinished or damaged, its crops have another size or stretch, or no crop is
            left; for Parquet shards, see ``stream_crops``.
    """
    if is_shards(folder):
        streamed = stream_crops(
            str(folder), charset, max_length, size, seed, 0.0, window, cache, allow_empty=True, exact=True
        )
        note = "" if streamed.chunks.shards.columns[2] else "; where their letters stand is not known"
        message = f"pack {streamed.chunks.shards.url}: {len(streamed):,} rendered crops, streamed{note}"
        return streamed, [message, *drops_of(streamed).lines()]
    folder = Path(folder)
    if not (folder / RECIPE).is_file():
        raise UserError(f"pack {folder}: no {RECIPE} in it; make one with 'dptr synth --out {folder}'")
    manifest = read_json(folder / RECIPE, "pack")
    _check_stretch(manifest, size, folder)
    count = manifest["count"]
    rows: list[int] = []
    dropped: dict[str, int] = {}
    for number, start in enumerate(range(0, count, SHARD)):
        shard = _open_shard(folder / _name(number))
        _check_sizes(shard, size, folder)
        for row, word in enumerate(shard.words):
            reason = _why_unusable(word, charset, max_length)
            if reason is None:
                rows.append(start + row)
            else:
                dropped[reason] = dropped.get(reason, 0) + 1
    if not rows:
        raise UserError(f"pack {folder}: none of its {count} words can be used ({dropped}); make one for this charset")
    left_out = f"; left out: {', '.join(f'{n} {reason}' for reason, n in dropped.items())}" if dropped else ""
    return Pack(folder, np.array(rows), seed), [f"pack {folder}: {len(rows):,} rendered crops{left_out}"]


def _check_stretch(manifest: dict[str, Any], size: CropSize, folder: Path) -> None:
    drawn = manifest.get("recipe", {}).get("size", {}).get("stretch", 1)  # packs of older versions lack it
    if drawn != size.stretch and len(size.every) > 1:
        raise UserError(
            f"pack {folder}: words are drawn {drawn:g} times as wide, and the encoder reads pictures {size.stretch:g} "
            f"times as wide; make one with --set size.stretch={size.stretch:g}"
        )


def _check_sizes(shard: _Shard, size: CropSize, folder: Path) -> None:
    other_sizes = {(int(height), int(width)) for height, width in np.unique(shard.sizes, axis=0)} - {*size.every}
    if other_sizes:
        height, width = min(other_sizes, key=by_shape)
        raise UserError(
            f"pack {folder}: crops of {height}x{width} pixels where the encoder takes {size}; make one with "
            f"--set size.height={size.height} --set size.width={size.width} --set size.max_width={size.max_width} "
            f"--set size.sizes={[*map(list, size.sizes)]} --set size.stretch={size.stretch:g}"
        )


def _why_unusable(word: str, charset: Charset, max_length: int) -> str | None:
    """Why a word cannot be trained on; None if it can, and for "", a picture without text."""
    if not word:
        return None
    label, reason = check_label(word, charset, max_length)
    return OTHERWISE if reason is None and label != word else reason


def write_pack(
    recipe: SynthRecipe,
    count: int,
    folder: Path,
    workers: int = 1,
    resume: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    part: tuple[int, int] = (0, 1),
    style: str = "safetensors",
    tell: Tell | None = None,
) -> None:
    """Render samples 0..count-1 of ``recipe`` into ``folder``.

    Args:
        count: number of crops; if it is no multiple of ``SHARD``, the last shard is smaller.
        workers: processes that render; 1 = this process.
        resume: continue in a folder that already holds a pack of this recipe, which may also become larger.
        progress: called with the number of crops done, including those in the folder at the start.
        part: (i, n) = render every n-th shard from the i-th on. n jobs, in any order or at the same time, make the
            whole pack.
        style: the format, a key of ``STYLES``.
        tell: called with lines on the words, before anything is rendered.

    Raises:
        UserError: ``folder`` holds other files, a pack of another recipe or of other words (``check_words``), or a pack
            while ``resume`` is off and ``part`` is the whole; the package for ``style`` is missing; see
            ``check_unstretched`` for shards; rendering fails.
    """
    manifest = {**describe_recipe(recipe), "shard": SHARD}
    if style != "safetensors":
        manifest["format"] = style
        check_unstretched(recipe.size)
        require_extras(f"dptr synth --format {style}", "shards")
    path = folder / RECIPE
    if check_folder(folder, "pack", RECIPE, ("recipe", "shard", "count")):
        old_manifest = read_json(path, "pack")
        if not resume and part == (0, 1):
            raise UserError(f"{folder}: already holds a pack; pass --resume to continue it, or another --out")
        if not same_crops({**old_manifest, "count": 0}, {**manifest, "count": 0}):
            raise UserError(f"{folder}: holds a pack of another recipe; pass the same settings, or another --out")
        count = max(count, old_manifest["count"])
    source = make_source(recipe)  # errors in the recipe come before anything is written
    if tell:
        tell(source.describe())
    if part == (0, 1):  # else other jobs may be writing in the folder
        remove_partial(folder)
    write_json(path, {**manifest, "count": count})
    shards = [
        _PackShard(folder / _name(number, style), number, start, min(start + SHARD, count))
        for number, start in enumerate(range(0, count, SHARD))
    ]
    missing = [shard for shard in shards if STYLES[style].count(shard.path) != len(shard)]
    done = count - sum(map(len, missing))
    if complete := next((shard for shard in shards if shard not in missing), None):
        check_words(complete.path, STYLES[style].words(complete.path), source, complete.first)
    progress(done)
    missing = [shard for shard in missing if shard.number % part[1] == part[0]]
    if not missing:
        return
    if workers == 1:
        for shard in missing:
            done += shard.write(source, style)
            progress(done)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(missing)), worker.start_worker, (recipe,)) as pool:
        for written in pool.imap_unordered(partial(_write_in_worker, style), missing):
            done += written
            progress(done)


@dataclass(frozen=True)
class _PackShard:
    """A shard of a pack, samples ``first``..``last - 1``, which may have to be written."""

    path: Path
    number: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def write(self, source: RenderedWords, style: str) -> int:
        """Render and write the shard; return the number of its crops."""
        samples = [source.sample(index) for index in range(self.first, self.last)]
        STYLES[style].write(self.path, samples, self.first, len(source.renderer.size.every) > 1)
        return len(self)


def _write_in_worker(style: str, shard: _PackShard) -> int:
    return shard.write(worker.worker_source(), style)


def _write_tensors(path: Path, samples: list[Sample], first: int, variable_size: bool) -> None:
    crops = [crop for crop, _, _ in samples]
    values = np.concatenate([crop.ravel() for crop in crops]) if variable_size else np.stack(crops)
    tensors = {
        "crops": torch.from_numpy(values),
        "stops": torch.from_numpy(pad_stops([stops for _, _, stops in samples])).half(),
    }
    if variable_size:
        tensors["sizes"] = torch.tensor([crop.shape[:2] for crop in crops])
    words = json.dumps([word for _, word, _ in samples], ensure_ascii=False)
    save_tensors(path, tensors, {"words": words})


def _count_tensors(path: Path) -> int:
    return len(_read_shard(path).words) if path.is_file() else 0


def _read_tensor_words(path: Path) -> list[str]:
    return _read_shard(path).words


def _write_parquet(path: Path, samples: list[Sample], first: int, variable_size: bool) -> None:
    from dptr.shards.parquet import write_crops

    pictures = ((encode_png(crop), word, stops.ravel().tolist()) for crop, word, stops in samples)
    write_crops(path, pictures, first)


def _count_parquet(path: Path) -> int:
    from dptr.shards.parquet import count_rows

    return count_rows(path) if path.is_file() else 0


def _read_parquet_words(path: Path) -> list[str]:
    from dptr.shards.parquet import read_words

    return read_words(path)


@dataclass(frozen=True)
class Style:
    """The functions of a file format."""

    write: Callable[[Path, list[Sample], int, bool], None]  # path, samples, number of the first, whether sizes differ
    count: Callable[[Path], int]  # the number of crops in a file; 0 if the file does not exist
    words: Callable[[Path], list[str]]  # the words of a file


STYLES = {
    "safetensors": Style(_write_tensors, _count_tensors, _read_tensor_words),
    "parquet": Style(_write_parquet, _count_parquet, _read_parquet_words),
}


def _name(number: int, style: str = "safetensors") -> str:
    return f"crops-{number:06d}.{style}"


@lru_cache(maxsize=1024)
def _open_shard(path: Path) -> _Shard:
    return _read_shard(path)


def _read_shard(path: Path) -> _Shard:
    try:
        with safe_open(path, "pt") as file:
            crops, stops = file.get_tensor("crops"), file.get_tensor("stops")
            words = json.loads(file.metadata()["words"])
            if "sizes" in file.keys():  # noqa: SIM118
                sizes = file.get_tensor("sizes").numpy()
                return _Shard(crops, sizes, np.cumsum(3 * sizes.prod(1)) - 3 * sizes.prod(1), stops, words)
            if "ends" in file.keys():  # noqa: SIM118
                raise UserError(f"{path}: crops of several widths as older versions wrote them; make the pack anew")
            sizes = np.tile(crops.shape[1:3], (len(words), 1))
            return _Shard(crops, sizes, np.empty(0, np.int64), stops, words)
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a whole shard ({error}); delete the file and run the same 'dptr synth' with --resume"
        ) from error
