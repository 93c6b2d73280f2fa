"""Rendered crops as a data set that any toolkit reads: a folder with ``labels.tsv``, or an LMDB in the field's format.

For training here a pack (``dptr.synth.pack``) is faster: its crops are decoded already.
"""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from dptr.config.train import SynthRecipe
from dptr.data.labeled import LABELS
from dptr.data.lmdb import write_lmdb
from dptr.synth import worker
from dptr.synth.manifest import CHECKED, check_words, describe_recipe, same_crops
from dptr.synth.source import RenderedWords
from dptr.synth.worker import make_source
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, remove_partial, write_json
from dptr.utils.outputs import check_folder

CHUNK = 200  # crops rendered at once
RECIPE = "synth.json"  # the manifest
Picture = tuple[bytes, str]  # a PNG and its word
Progress = Callable[[int], None]


def parse_shard(text: str) -> tuple[int, int]:
    """``i/n`` as numbers; i counts from 0.

    Raises:
        UserError: not of that form, or i not below n.
    """
    number, slash, parts = text.partition("/")
    if not slash or not number.isdecimal() or not parts.isdecimal() or int(number) >= int(parts):
        raise UserError(f"--shard {text}: write i/n with i from 0 to n - 1, such as 0/4 to 3/4")
    return int(number), int(parts)


def shard_range(part: tuple[int, int], count: int) -> tuple[int, int]:
    """First sample, and one past the last, of part (i, n) of ``count``; all parts together hold each sample once.

    Raises:
        UserError: more parts than samples.
    """
    number, parts = part
    if parts > count:
        raise UserError(
            f"--shard {number}/{parts}: more shards than crops ({count}); ask for more crops, or fewer shards"
        )
    return number * count // parts, (number + 1) * count // parts


def write_folder(
    recipe: SynthRecipe,
    first: int,
    last: int,
    folder: Path,
    workers: int = 1,
    resume: bool = False,
    progress: Progress = lambda done: None,
) -> None:
    """Samples ``first``..``last - 1`` as PNG files below ``images`` and a line each in ``labels.tsv``.

    Interrupted at any moment, the same call with ``resume`` goes on after the last crop that has its line; the result
    is that of an uninterrupted one.

    Raises:
        UserError: ``folder`` holds something else, or such samples and ``resume`` is off, or other samples; a picture
            or a line there that this function did not write; what rendering raises.
    """
    described = {**describe_recipe(recipe), "first": first, "last": last}
    path, labels = folder / RECIPE, folder / LABELS
    if check_folder(folder, "rendered crops", RECIPE, ("recipe", "first", "last")):
        if not resume:
            raise UserError(f"{folder}: already holds rendered crops; pass --resume to go on, or another --out")
        if not same_crops(read_json(path, "rendered crops"), described):
            raise UserError(f"{folder}: holds crops of another recipe or range; pass the same, or another --out")
    source = make_source(recipe)
    check_words(labels, _words(labels), source, first)
    remove_partial(folder)
    write_json(path, described)
    done, rest = _kept(labels)
    progress(done)
    with open(labels, "ab") as file:
        for start, pictures in _chunks(recipe, source, first + done, last, workers):
            names = [f"images/{index // 1000:06d}/{index:09d}.png" for index in range(start, start + len(pictures))]
            lines = "".join(f"{name}\t{word}\n" for name, (_, word) in zip(names, pictures, strict=True)).encode()
            if rest and lines.startswith(rest):
                os.truncate(labels, labels.stat().st_size - len(rest))
                rest = b""
            if rest:
                break
            for name, (png, _) in zip(names, pictures, strict=True):
                _write(folder / name, png)
            _append(file.fileno(), lines, labels)
            done += len(pictures)
            progress(done)
    if rest:
        raise UserError(f"{labels}: ends in {rest[:60]!r}, which dptr did not write; end or delete that line")


def write_synth_lmdb(
    recipe: SynthRecipe,
    first: int,
    last: int,
    path: Path,
    workers: int = 1,
    resume: bool = False,
    progress: Progress = lambda done: None,
) -> None:
    """The same samples as an LMDB; see ``write_lmdb`` for how it resumes and what it raises."""
    source = make_source(recipe)

    def stream() -> Iterator[Picture]:
        for start, pictures in _chunks(recipe, source, first, last, workers):
            yield from pictures
            progress(start + len(pictures) - first)

    write_lmdb(path, stream(), resume)


def _kept(labels: Path) -> tuple[int, bytes]:
    """How many crops have their whole line, and what an interrupted run left of another line."""
    data = labels.read_bytes() if labels.exists() else b""
    return data.count(b"\n"), data[data.rfind(b"\n") + 1 :]


def _words(labels: Path) -> list[str]:
    """The first words that have their whole line."""
    if not labels.exists():
        return []
    with open(labels, encoding="utf-8", errors="replace", newline="\n") as file:
        return [line[:-1].partition("\t")[2] for line in islice(file, CHECKED) if line.endswith("\n")]


def _chunks(
    recipe: SynthRecipe, source: RenderedWords, first: int, last: int, workers: int
) -> Iterator[tuple[int, list[Picture]]]:
    """Samples of ``source``, the recipe's, in order, a chunk at a time, with the number of the first of them."""
    spans = [(start, min(start + CHUNK, last)) for start in range(first, last, CHUNK)]
    if workers == 1 or len(spans) < 2:
        yield from ((span[0], render_pictures(source, span)) for span in spans)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(spans)), worker.start_worker, (recipe,)) as pool:
        yield from zip((start for start, _ in spans), pool.imap(_work, spans), strict=True)


def _work(span: tuple[int, int]) -> list[Picture]:
    return render_pictures(worker.worker_source(), span)


def render_pictures(source: RenderedWords, span: tuple[int, int]) -> list[Picture]:
    """Samples ``span[0]``..``span[1] - 1`` as the PNGs that data sets hold, each with its word."""
    pictures = []
    for index in range(*span):
        crop, word, _ = source.sample(index)
        pictures.append((encode_png(crop), word))
    return pictures


def encode_png(crop: np.ndarray) -> bytes:
    """A crop (h, w, 3) as a PNG."""
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _write(path: Path, data: bytes) -> None:
    """A picture; one that is there has to be the same, or the beginning of it, as an interrupted run leaves it."""
    try:
        if path.exists() and not data.startswith(path.read_bytes()):
            raise UserError(f"{path}: another picture than dptr renders; move it away, then continue with --resume")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space, then continue with --resume") from error


def _append(descriptor: int, data: bytes, path: Path) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space, then continue with --resume") from error
