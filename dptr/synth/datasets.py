"""Rendered crops as a data set that other toolkits can read: a folder with ``labels.tsv``, or a standard LMDB.

To train with DPTR, a pack (``dptr.synth.pack``) is faster: its crops are already decoded.
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
from dptr.synth.manifest import CHECKED, check_unstretched, check_words, describe_recipe, same_crops
from dptr.synth.source import RenderedWords, Tell
from dptr.synth.worker import make_source
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, remove_partial, write_json
from dptr.utils.outputs import check_folder

CHUNK = 200  # crops rendered at once
RECIPE = "synth.json"  # the manifest
Picture = tuple[bytes, str]  # a PNG and its word
Progress = Callable[[int], None]


def parse_shard(text: str) -> tuple[int, int]:
    """Parse ``i/n``, where i counts from 0.

    Raises:
        UserError: the text does not have this form, or i is not below n.
    """
    number, slash, parts = text.partition("/")
    if not slash or not number.isdecimal() or not parts.isdecimal() or int(number) >= int(parts):
        raise UserError(f"--shard {text}: write i/n with i from 0 to n - 1, such as 0/4 to 3/4")
    return int(number), int(parts)


def shard_range(part: tuple[int, int], count: int) -> tuple[int, int]:
    """The samples of part (i, n) of ``count``: its first sample, and one past its last.

    All n parts together hold each sample once.

    Raises:
        UserError: there are more parts than samples.
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
    tell: Tell | None = None,
) -> None:
    """Write samples ``first``..``last - 1`` as PNG files below ``images``, with a line each in ``labels.tsv``.

    After an interruption at any moment, the same call with ``resume`` continues after the last crop that has a complete
    line. The result equals that of an uninterrupted call.

    Args:
        workers: processes that render; 1 = this process.
        resume: continue in a folder that already holds crops of this recipe and range.
        progress: called with the number of crops done.
        tell: called with lines on the words, before anything is rendered.

    Raises:
        UserError: ``folder`` holds other files, crops of another recipe or range, or crops while ``resume`` is off; it
            holds a picture or a line that this function did not write; a file cannot be written; rendering fails; see
            ``check_unstretched``.
    """
    check_unstretched(recipe.size)
    manifest = {**describe_recipe(recipe), "first": first, "last": last}
    path, labels = folder / RECIPE, folder / LABELS
    if check_folder(folder, "rendered crops", RECIPE, ("recipe", "first", "last")):
        if not resume:
            raise UserError(f"{folder}: already holds rendered crops; pass --resume to go on, or another --out")
        if not same_crops(read_json(path, "rendered crops"), manifest):
            raise UserError(f"{folder}: holds crops of another recipe or range; pass the same, or another --out")
    source = make_source(recipe)
    if tell:
        tell(source.describe())
    check_words(labels, _read_words(labels), source, first)
    remove_partial(folder)
    write_json(path, manifest)
    done, incomplete = _count_lines(labels)
    progress(done)
    with open(labels, "ab") as file:
        for start, pictures in _render_chunks(recipe, source, first + done, last, workers):
            names = [f"images/{index // 1000:06d}/{index:09d}.png" for index in range(start, start + len(pictures))]
            lines = "".join(f"{name}\t{word}\n" for name, (_, word) in zip(names, pictures, strict=True)).encode()
            if incomplete and lines.startswith(incomplete):
                os.truncate(labels, labels.stat().st_size - len(incomplete))
                incomplete = b""
            if incomplete:
                break
            for name, (png, _) in zip(names, pictures, strict=True):
                _write_picture(folder / name, png)
            _append_lines(file.fileno(), lines, labels)
            done += len(pictures)
            progress(done)
    if incomplete:
        raise UserError(f"{labels}: ends in {incomplete[:60]!r}, which dptr did not write; end or delete that line")


def write_synth_lmdb(
    recipe: SynthRecipe,
    first: int,
    last: int,
    path: Path,
    workers: int = 1,
    resume: bool = False,
    progress: Progress = lambda done: None,
    tell: Tell | None = None,
) -> None:
    """Write the samples of ``write_folder`` as an LMDB.

    ``dptr.data.lmdb.write_lmdb`` says how it resumes and which errors it raises; see ``check_unstretched`` too.
    """
    check_unstretched(recipe.size)
    source = make_source(recipe)
    if tell:
        tell(source.describe())

    def stream() -> Iterator[Picture]:
        for start, pictures in _render_chunks(recipe, source, first, last, workers):
            yield from pictures
            progress(start + len(pictures) - first)

    write_lmdb(path, stream(), resume)


def _count_lines(labels: Path) -> tuple[int, bytes]:
    """Count the complete lines; also return the bytes of an incomplete last line, left by an interrupted run."""
    data = labels.read_bytes() if labels.exists() else b""
    return data.count(b"\n"), data[data.rfind(b"\n") + 1 :]


def _read_words(labels: Path) -> list[str]:
    """The words of the first ``CHECKED`` lines that are complete."""
    if not labels.exists():
        return []
    with open(labels, encoding="utf-8", errors="replace", newline="\n") as file:
        return [line[:-1].partition("\t")[2] for line in islice(file, CHECKED) if line.endswith("\n")]


def _render_chunks(
    recipe: SynthRecipe, source: RenderedWords, first: int, last: int, workers: int
) -> Iterator[tuple[int, list[Picture]]]:
    """Render samples ``first``..``last - 1`` in order; yield chunks of them with the number of their first sample.

    Args:
        source: the words of ``recipe``; this process renders them if ``workers`` is 1.
    """
    spans = [(start, min(start + CHUNK, last)) for start in range(first, last, CHUNK)]
    if workers == 1 or len(spans) < 2:
        yield from ((span[0], render_pictures(source, span)) for span in spans)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(spans)), worker.start_worker, (recipe,)) as pool:
        yield from zip((start for start, _ in spans), pool.imap(_render_in_worker, spans), strict=True)


def _render_in_worker(span: tuple[int, int]) -> list[Picture]:
    return render_pictures(worker.worker_source(), span)


def render_pictures(source: RenderedWords, span: tuple[int, int]) -> list[Picture]:
    """Render samples ``span[0]``..``span[1] - 1`` as PNGs, each with its word."""
    pictures = []
    for index in range(*span):
        crop, word, _ = source.sample(index)
        pictures.append((encode_png(crop), word))
    return pictures


def encode_png(crop: np.ndarray) -> bytes:
    """Encode a crop, uint8 (h, w, 3), as PNG with compression level 1."""
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _write_picture(path: Path, data: bytes) -> None:
    """Write a picture.

    If the file exists, it must hold the same bytes or the first of them, as after an interrupted run.
    """
    try:
        if path.exists() and not data.startswith(path.read_bytes()):
            raise UserError(f"{path}: another picture than dptr renders; move it away, then continue with --resume")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space, then continue with --resume") from error


def _append_lines(descriptor: int, data: bytes, path: Path) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space, then continue with --resume") from error
