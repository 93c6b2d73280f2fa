"""Import of labeled words from other formats: one function for each kind, and ``build``, which writes a data set.

To add a kind, write a function ``(source, drops, ...) -> words`` and add a line to ``IMPORTERS``. The function's other
parameters must have the names of options of ``read``, which ``build`` passes on.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from dptr.data.importers.benchmarks import import_cute80, import_iiit5k, import_svt, import_svtp, import_union14m
from dptr.data.importers.common import Word
from dptr.data.importers.icdar import import_icdar_scenes, import_icdar_words, import_mlt
from dptr.data.importers.jsons import import_art, import_coco_text, import_textocr
from dptr.data.importers.output import Sample, encode, own_dataset, replace_dataset, write_dataset
from dptr.data.importers.tables import import_bctr, import_folder, import_quads, import_table
from dptr.data.report import DropReport
from dptr.utils.errors import UserError
from dptr.utils.outputs import lies_in

IMPORTERS: dict[str, Callable[..., Iterator[Word]]] = {
    "folder": import_folder,
    "table": import_table,
    "quads": import_quads,
    "icdar-words": import_icdar_words,
    "icdar-scenes": import_icdar_scenes,
    "mlt": import_mlt,
    "iiit5k": import_iiit5k,
    "svt": import_svt,
    "svtp": import_svtp,
    "cute80": import_cute80,
    "coco-text": import_coco_text,
    "textocr": import_textocr,
    "art": import_art,
    "union14m": import_union14m,
    "bctr": import_bctr,
}

__all__ = ["IMPORTERS", "Imported", "Word", "build", "read"]


@dataclass(frozen=True)
class Imported:
    """The result of ``build``.

    Attributes:
        words: number of words written.
        drops: report of the words left out.
    """

    words: int
    drops: DropReport


def read(
    source: str | Path,
    kind: str,
    drops: DropReport,
    images: str | Path | None = None,
    split: str | None = None,
    columns: tuple[str, str] | None = None,
    languages: tuple[str, ...] = (),
) -> Iterator[Word]:
    """Read the words of ``source``, in its order.

    Args:
        source: file or folder, depending on the kind.
        kind: a key of ``IMPORTERS``.
        drops: counts the words that are left out, while the result is iterated.
        images: folder of the pictures, if it is not that of the annotations.
        split: ``train``, ``val``, or ``test``, for sources with several splits.
        columns: columns of path and label in a table, by name or by number from 1.
        languages: languages or scripts to keep, for sources that name them; empty = all.

    Raises:
        UserError: an unknown kind; an option that the kind does not take; see the kind's function.
    """
    if kind not in IMPORTERS:
        nearest = difflib.get_close_matches(kind, IMPORTERS, n=1, cutoff=0.4)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise UserError(f"kind '{kind}': not known; {hint}pass one of {', '.join(IMPORTERS)}")
    importer = IMPORTERS[kind]
    parameters = inspect.signature(importer).parameters
    arguments = {
        "images": Path(images) if images is not None else None,
        "split": split,
        "columns": columns,
        "languages": languages or None,
    }
    options = {name: value for name, value in arguments.items() if value is not None}
    for name in options:
        if name not in parameters:
            others = [other for other, function in IMPORTERS.items() if name in inspect.signature(function).parameters]
            raise UserError(f"kind '{kind}': takes no {name}, only {', '.join(others)} do; leave it out")
    return importer(Path(source), drops, **options)


def build(
    source: str | Path,
    out: str | Path,
    kind: str,
    images: str | Path | None = None,
    split: str | None = None,
    columns: tuple[str, str] | None = None,
    languages: tuple[str, ...] = (),
    quality: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda words: None,
) -> Imported:
    """Write the words of ``source`` as a data set.

    The data set includes ``import.json``, which records the words' origin and the words left out.

    Args:
        source, kind, images, split, columns, languages: see ``read``.
        out: an LMDB if it ends in ``.lmdb``, otherwise a folder with ``labels.tsv`` and ``images``.
        quality: JPEG quality, 1 to 95; None = PNG, which is lossless.
        resume: continue an interrupted run of the same import, or compare a finished data set with the source.
        overwrite: replace an existing data set once the new one is complete. Only a data set that this function wrote,
            and that has not changed since, is replaced.
        progress: called with the number of words so far.

    Raises:
        UserError: ``out`` exists, and ``resume`` and ``overwrite`` are both off; both are on; ``out`` has files that
            this function did not write, or contains the source; no word is left; a full disk; see ``read``.
    """
    source, out = Path(source), Path(out)
    if resume and overwrite:
        raise UserError(f"{out}: both resume and overwrite; go on with what is there, or begin anew")
    if quality is not None and not 1 <= quality <= 95:
        raise UserError(f"quality {quality}; JPEG takes 1 to 95; leave it out for PNG")
    for what, path in (("source itself", source), ("pictures", images)):
        if path is not None and lies_in(path, out):
            raise UserError(f"{out}: holds the {what}; pass another path")
    if out.exists() and not (resume or overwrite):
        raise UserError(f"{out}: exists; pass another path, resume to go on or check, or overwrite")
    old_files = own_dataset(out, changed=resume)
    drops = DropReport()
    words = read(source, kind, drops, images, split, columns, languages)
    first = next(words, None)
    if first is None:
        reasons = "; ".join(drops.lines(show=1)) or "it is empty"
        raise UserError(f"{source}: no word left ({reasons}); check the source, its kind and its images")

    def samples() -> Iterator[Sample]:
        for count, word in enumerate(chain([first], words), start=1):
            if old_files and lies_in(word.file, out):
                raise UserError(f"{out}: holds {word.file}, which is read; pass another path")
            yield encode(word.image, quality), word.label
            progress(count)

    def describe(count: int) -> dict[str, Any]:
        return {"kind": kind, "source": str(source), "words": count, "dropped": drops.to_json()}

    if overwrite:
        return Imported(replace_dataset(out, samples(), describe, old_files), drops)
    return Imported(write_dataset(out, samples(), describe, resume), drops)
