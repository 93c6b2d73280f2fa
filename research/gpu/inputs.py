"""What training on a machine without a network needs beside the checkout, small enough to carry: runs/gpu-inputs.

    python research/gpu/inputs.py --out runs/gpu-inputs

Below ``--out``: ``fonts.tar.xz``, every font that has all of charset 94, cut down to it; ``words.gz``,
wordfreq's English list as a file in which frequent words stand more than once; ``photographs`` and, for each set of
labeled crops, ``SET/train`` and ``SET/val``, reduced to the sizes that are read; ``models``, recognizers in half
precision; ``wheels``, Python packages that are missing there.
"""

from __future__ import annotations

import argparse
import gzip
import io
import math
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

import numpy as np
from fontTools import subset
from fontTools.ttLib import TTFont, TTLibError
from PIL import Image
from prepare import SETS

from dptr.config.render import SourceConfig
from dptr.data.held_out import hash_picture, is_held_out
from dptr.data.labeled import LabeledDataset, open_labeled
from dptr.models.checkpoint import load_recognizer, open_checkpoint, save_checkpoint
from dptr.synth import FontIndex, find_fonts
from dptr.text.charset import check_label, resolve_charset
from dptr.text.sources import read_source
from dptr.utils.errors import UserError
from dptr.utils.files import atomic_file

PACKAGES = ("annotated-doc", "annotated-types", "lmdb", "pydantic", "pydantic_core", "typer", "typing-inspection")
PLATFORMS = ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64")
WORDS = 1_000_000  # lines of the word file
SIDE = 160  # pixels of a photograph's shorter side, as the renderer keeps them (dptr.synth.backgrounds)
HEIGHT = 64  # pixels of a crop's shorter side at most; models read no more rows
QUALITY = 75  # of crops as WebP files, which take two thirds of what JPEG files do
HELD_OUT = 0.1  # share of the crops that validates
ORDERED = ("iiit5k", "ic15")  # sets of which a permutation of both together chooses these, as when the models began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", default="3.12", help="version there, for the wheels; '' = no wheels")
    parser.add_argument("--fonts", type=int, default=0, help="only so many, evenly spread; 0 = all")
    parser.add_argument("--font-folder", nargs="+", default=[], help="where fonts are; none = the system's")
    parser.add_argument("--sets", nargs="+", default=list(SETS), help="of labeled crops, below DPTR_DATA")
    parser.add_argument("--whole", action="store_true", help="hold no labeled crops out for validation")
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=FOLDER", help="a recognizer to take along"
    )
    parser.add_argument("--decoder", type=Path, help="a decoder's checkpoint to take along")
    options = parser.parse_args()
    try:
        if "DPTR_DATA" not in os.environ:
            raise UserError("DPTR_DATA is not set; set it to the folder that holds natural, iiit5k and ic15")
        data, out = Path(os.environ["DPTR_DATA"]), options.out
        if out.exists() and any(out.iterdir()):
            raise UserError(f"{out}: not empty; pass another --out")
        out.mkdir(parents=True, exist_ok=True)
        say(out / "fonts.tar.xz", f"{fonts(out / 'fonts.tar.xz', options.fonts, options.font_folder)} fonts")
        say(out / "words.gz", f"{words(out / 'words.gz')} words")
        say(out / "photographs", f"{photographs(data / 'natural', out / 'photographs')} photographs")
        sets = {name: open_labeled(data / name / "train") for name in options.sets}
        held = {} if options.whole else held_out(sets)
        for name, dataset in sets.items():
            rows = set(range(len(dataset)))
            for part, some in (("train", rows - held.get(name, set())), ("val", held.get(name, set()))):
                if some:
                    say(out / name / part, f"{crops(dataset, out / name / part, some)} crops")
        for entry in options.model:
            say(out / "models" / model(entry, out / "models"), entry)
        if options.decoder:
            shutil.copytree(options.decoder, out / "decoder", dirs_exist_ok=True)
            say(out / "decoder", str(options.decoder))
        if options.python:
            wheels(out / "wheels", options.python)
            say(out / "wheels", f"{len(PACKAGES)} packages")
    except UserError as error:
        sys.exit(f"inputs: {error}")
    say(out, "together")


def say(path: Path, what: str) -> None:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    print(f"{path}\t{what}\t{sum(file.stat().st_size for file in files) / 2**20:.1f} MiB")


def fonts(path: Path, count: int, folders: list[str]) -> int:
    """Fonts that have all of charset 94, with these characters alone; how many.

    Raises:
        UserError: there is none.
    """
    characters = "".join(resolve_charset("94").characters)
    found = find_fonts(folders)
    whole = [font for font, fits in zip(found, FontIndex(found).covering(characters), strict=True) if fits]
    if not whole:
        raise UserError(f"no font of {folders or 'this system'} has all of charset 94; run scripts/fonts.sh")
    kept = [whole[place * len(whole) // count] for place in range(min(count, len(whole)))] if count else whole
    options = subset.Options(name_IDs=["*"], notdef_outline=True, glyph_names=False, drop_tables=["DSIG", "meta"])
    options.layout_features = ["kern", "liga", "mark", "mkmk", "ccmp"]
    with atomic_file(path) as aside, tarfile.open(aside, "w:xz") as archive:
        for number, font in enumerate(kept):
            try:
                face = TTFont(font.path, fontNumber=font.number, lazy=True)
                cutter = subset.Subsetter(options)
                cutter.populate(text=characters + " ")
                cutter.subset(face)
                stored = io.BytesIO()
                face.flavor = None
                face.save(stored)
            except (TTLibError, KeyError, AssertionError) as error:
                raise UserError(f"{font.path}: cannot be cut down ({error}); remove this font") from error
            suffix = ".otf" if "CFF " in face or "CFF2" in face else ".ttf"
            entry = tarfile.TarInfo(f"{number:04d}{suffix}")
            entry.size = stored.tell()
            archive.addfile(entry, io.BytesIO(stored.getvalue()))
    return len(kept)


def words(path: Path) -> int:
    """wordfreq's English words, each once and as often again as its weight of ``WORDS`` says; how many different."""
    entries, _ = read_source(SourceConfig(kind="wordfreq"))
    total = math.fsum(weight for _, weight in entries)
    lines = ((word + "\n") * max(1, round(WORDS * weight / total)) for word, weight in entries)
    with atomic_file(path) as aside:
        aside.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    return len(entries)


def photographs(folder: Path, out: Path) -> int:
    """Photographs with a shorter side of ``SIDE`` pixels; how many.

    Raises:
        UserError: there is none.
    """
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise UserError(f"{folder}: no .jpg in it; it should hold photographs without text")
    out.mkdir(exist_ok=True)
    for path in paths:
        with Image.open(path) as image:
            _shrunk(image, SIDE / min(image.size)).save(out / path.name, quality=80)
    return len(paths)


def held_out(sets: dict[str, LabeledDataset]) -> dict[str, set[int]]:
    """Which crops of each set validate: those that the released recognizers have not seen.

    Of ``ORDERED``, together, the first ones of a permutation of all crops with a label in charset 94, white space
    aside; of the other sets those that ``dptr.data.held_out`` chooses by their bytes.

    Raises:
        UserError: one of ``ORDERED`` without the others.
    """
    ordered = [name for name in ORDERED if name in sets]
    if ordered and len(ordered) < len(ORDERED):
        raise UserError(f"--sets {' '.join(sets)}: {' and '.join(ORDERED)} are held out together; name both or --whole")
    charset = resolve_charset("94")
    rows = [
        (name, row)
        for name in ordered
        for row in range(len(sets[name]))
        if check_label(sets[name].label(row), charset, sys.maxsize)[1] is None
    ]
    order = np.random.Generator(np.random.Philox(key=[0, 0])).permutation(len(rows))
    held: dict[str, set[int]] = {name: set() for name in sets}
    for place in order[: round(HELD_OUT * len(rows))].tolist():
        name, row = rows[place]
        held[name].add(row)
    for name in sets.keys() - set(ordered):
        hashes = np.array([hash_picture(sets[name].image_bytes(row)) for row in range(len(sets[name]))], np.uint32)
        held[name].update(np.flatnonzero(is_held_out(hashes, HELD_OUT)).tolist())
    return held


def crops(dataset: LabeledDataset, out: Path, rows: Collection[int]) -> int:
    """A labeled data set of some of the crops, with shorter sides of at most ``HEIGHT`` pixels; how many."""
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in sorted(rows):
        name = f"{row:06d}.webp"
        image = dataset.image(row)
        _shrunk(image, HEIGHT / min(image.size)).save(out / name, quality=QUALITY)
        lines.append(f"{name}\t{dataset.label(row)}\n")
    (out / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    return len(lines)


def model(entry: str, out: Path) -> str:
    """Write a recognizer in half precision, given as NAME=FOLDER; its name.

    Raises:
        UserError: not NAME=FOLDER; see ``load_recognizer``.
    """
    name, _, folder = entry.partition("=")
    if not name or not folder:
        raise UserError(f"--model {entry}: not NAME=FOLDER; name a recognizer's folder")
    checkpoint, loaded = open_checkpoint(folder), load_recognizer(folder)
    out.mkdir(exist_ok=True)
    save_checkpoint(
        out / name, "recognizer", loaded.model, loaded.config, checkpoint.charset, checkpoint.dual, loaded.card,
        half=True, temperature=loaded.temperature,
    )  # fmt: skip
    return name


def _shrunk(image: Image.Image, factor: float) -> Image.Image:
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return (image.resize(size, Image.Resampling.LANCZOS) if factor < 1 else image).convert("RGB")


def wheels(out: Path, python: str) -> None:
    """``PACKAGES`` in the versions of this environment, for x86-64 Linux.

    Raises:
        UserError: pip could not fetch them.
    """
    pinned = [f"{name}=={version(name)}" for name in PACKAGES]
    target = ["--only-binary=:all:", "--python-version", python, *(f"--platform={name}" for name in PLATFORMS)]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *target, "-d", str(out), *pinned]
    got = subprocess.run(command, capture_output=True, text=True)
    if got.returncode:
        last = (got.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise UserError(f"{out}: pip cannot fetch {' '.join(pinned)} ({last}); pass --python '' and install them there")


if __name__ == "__main__":
    main()
