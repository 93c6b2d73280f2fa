"""Packs: crops rendered once, for training to read many times.

A core renders some 480 crops a second, about as many as a small recognizer learns from; read from a pack, crops cost
nothing. A pack is a folder of files of ``SHARD`` crops at their final size with the letters' places and the words, each
written whole or not at all: an interrupted ``dptr synth`` goes on with the missing ones. A file is safetensors, whose
crops are mapped, or Parquet: a quarter of the bytes, and shards (``dptr.shards``), which whatever reads labeled crops
reads too.
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
from jaxtyping import Int
from safetensors import SafetensorError, safe_open

from dptr.config.data import DataConfig
from dptr.config.size import CropSize
from dptr.config.train import SynthRecipe
from dptr.data.loader import pad_stops
from dptr.data.shards import StreamedCrops, drops_of, stream_crops
from dptr.data.sources import ByRows, Sample
from dptr.shards.shard_set import is_shards
from dptr.synth import worker
from dptr.synth.datasets import encode_png
from dptr.synth.manifest import check_words, describe_recipe, same_crops
from dptr.synth.source import RenderedWords
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
    crops: torch.Tensor  # uint8 (n, h, w, 3), mapped from the file; where they are of several sizes (all values)
    sizes: np.ndarray  # height and width of each crop, (n, 2)
    starts: np.ndarray  # the first value of each crop, (n); empty where all are of one size
    stops: torch.Tensor  # float16 (n, letters, 2), mapped
    words: list[str]

    def crop(self, row: int) -> np.ndarray:
        """uint8 (h, w, 3), of its own size."""
        if not len(self.starts):
            return self.crops[row].numpy()
        height, width = self.sizes[row]
        start = self.starts[row]
        return self.crops[start : start + 3 * height * width].numpy().reshape(height, width, 3)


@dataclass(frozen=True)
class Pack(ByRows):
    """Crops of a pack in a new seeded order each epoch: a ``Source``.

    Args:
        folder: of the pack.
        rows: which crops, by number.
        seed: of the orders.
    """

    folder: Path
    rows: np.ndarray
    seed: int

    def __len__(self) -> int:
        """Crops of an epoch."""
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
        every = np.concatenate([_open_shard(self.folder / _name(number)).sizes for number in range(count)])
        return every[self.rows]

    def choose(self, rows: np.ndarray, stream: int) -> Pack:
        """Some of the crops; another ``stream`` has other orders."""
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
    """A pack to train on, and lines for the log: words that the charset cannot write are left out and counted.

    Pictures without text are among them, with the word "".

    Args:
        folder: of a pack, or shards, which are streamed.
        window, cache: of shards; see ``stream_crops``.

    Raises:
        UserError: no pack there, an unfinished or damaged one, crops of another size, or no crop is left; see
            ``stream_crops``.
    """
    if is_shards(folder):
        streamed = stream_crops(
            str(folder), charset, max_length, size, seed, 0.0, window, cache, allow_empty=True, exact=True
        )
        unknown = "" if streamed.chunks.shards.columns[2] else "; where their letters stand is not known"
        message = f"pack {streamed.chunks.shards.url}: {len(streamed):,} rendered crops, streamed{unknown}"
        return streamed, [message, *drops_of(streamed).lines()]
    folder = Path(folder)
    if not (folder / RECIPE).is_file():
        raise UserError(f"pack {folder}: no {RECIPE} in it; make one with 'dptr synth --out {folder}'")
    count = read_json(folder / RECIPE, "pack")["count"]
    rows: list[int] = []
    dropped: dict[str, int] = {}
    for number, start in enumerate(range(0, count, SHARD)):
        shard = _open_shard(folder / _name(number))
        others = {(int(height), int(width)) for height, width in np.unique(shard.sizes, axis=0)} - {*size.every}
        if others:
            height, width = min(others, key=by_shape)
            raise UserError(
                f"pack {folder}: crops of {height}x{width} pixels where the encoder takes {size}; make one with "
                f"--set size.height={size.height} --set size.width={size.width} --set size.max_width={size.max_width} "
                f"--set size.sizes={[*map(list, size.sizes)]}"
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
    style: str = "safetensors",
) -> None:
    """Render samples 0..count-1 of ``recipe`` into ``folder``.

    Args:
        count: crops; a multiple of ``SHARD`` or a last, smaller shard.
        workers: processes that render; 1 = this one.
        resume: go on with a folder that already holds a pack of this recipe, also to make it larger.
        progress: called with the number of crops done, by whoever did them.
        part: (i, n) = every n-th shard from the i-th on: n jobs together, in any order or at once, make the pack.
        style: a key of ``STYLES``.

    Raises:
        UserError: ``folder`` holds something else, a pack and neither ``resume`` nor a part is asked for, or a pack of
            another recipe, or of other words (``check_words``); what rendering raises.
    """
    described = {**describe_recipe(recipe), "shard": SHARD}
    if style != "safetensors":
        described["format"] = style
        require_extras(f"dptr synth --format {style}", "shards")
    path = folder / RECIPE
    if check_folder(folder, "pack", RECIPE, ("recipe", "shard", "count")):
        before = read_json(path, "pack")
        if not resume and part == (0, 1):
            raise UserError(f"{folder}: already holds a pack; pass --resume to continue it, or another --out")
        if not same_crops({**before, "count": 0}, {**described, "count": 0}):
            raise UserError(f"{folder}: holds a pack of another recipe; pass the same settings, or another --out")
        count = max(count, before["count"])
    source = make_source(recipe)  # raises what is wrong with the recipe before anything is written
    if part == (0, 1):  # else other jobs may be writing there
        remove_partial(folder)
    write_json(path, {**described, "count": count})
    shards = [
        _Missing(folder / _name(number, style), number, start, min(start + SHARD, count))
        for number, start in enumerate(range(0, count, SHARD))
    ]
    missing = [shard for shard in shards if STYLES[style].count(shard.path) != len(shard)]
    done = count - sum(map(len, missing))
    if whole := next((shard for shard in shards if shard not in missing), None):
        check_words(whole.path, STYLES[style].words(whole.path), source, whole.first)
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
        for written in pool.imap_unordered(partial(_work, style), missing):
            done += written
            progress(done)


@dataclass(frozen=True)
class _Missing:
    """A shard to be written: samples ``first``..``last - 1``."""

    path: Path
    number: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def write(self, source: RenderedWords, style: str) -> int:
        """Returns how many crops it holds."""
        samples = [source.sample(index) for index in range(self.first, self.last)]
        STYLES[style].write(self.path, samples, self.first, len(source.renderer.size.every) > 1)
        return len(self)


def _work(style: str, shard: _Missing) -> int:
    return shard.write(worker.worker_source(), style)


def _write_tensors(path: Path, samples: list[Sample], first: int, several: bool) -> None:
    crops = [crop for crop, _, _ in samples]
    tensors = {
        "crops": torch.from_numpy(np.concatenate([crop.ravel() for crop in crops]) if several else np.stack(crops)),
        "stops": torch.from_numpy(pad_stops([stops for _, _, stops in samples])).half(),
    }
    if several:
        tensors["sizes"] = torch.tensor([crop.shape[:2] for crop in crops])
    words = json.dumps([word for _, word, _ in samples], ensure_ascii=False)
    save_tensors(path, tensors, {"words": words})


def _count_tensors(path: Path) -> int:
    return len(_read_shard(path).words) if path.is_file() else 0


def _words_of_tensors(path: Path) -> list[str]:
    return _read_shard(path).words


def _write_parquet(path: Path, samples: list[Sample], first: int, several: bool) -> None:
    from dptr.shards.parquet import write_crops

    pictures = ((encode_png(crop), word, stops.ravel().tolist()) for crop, word, stops in samples)
    write_crops(path, pictures, first)


def _count_parquet(path: Path) -> int:
    from dptr.shards.parquet import count_rows

    return count_rows(path) if path.is_file() else 0


def _words_of_parquet(path: Path) -> list[str]:
    from dptr.shards.parquet import read_words

    return read_words(path)


@dataclass(frozen=True)
class Style:
    """How the files of a pack are written, how many crops one holds (0 = it is not there), and their words."""

    write: Callable[[Path, list[Sample], int, bool], None]
    count: Callable[[Path], int]
    words: Callable[[Path], list[str]]


STYLES = {
    "safetensors": Style(_write_tensors, _count_tensors, _words_of_tensors),
    "parquet": Style(_write_parquet, _count_parquet, _words_of_parquet),
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
