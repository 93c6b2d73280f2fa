"""``dptr synth`` and ``dptr fonts``: rendered words, and the fonts to render them with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dptr.cli.options import Overrides, Recipe
from dptr.utils.errors import UserError
from dptr.utils.files import whole_file
from dptr.utils.terminal import progress_bars, write_text


def synth(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="What to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many crops; over all shards.")],
    config: Recipe = None,
    overrides: Overrides = None,
    kind: Annotated[str, typer.Option("--as", metavar="pack|folder|lmdb", help="In which format.")] = "pack",
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only part I (from 0) of N, for N jobs.")] = "0/1",
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with, or enlarge, what is in --out.")] = False,
    sheet: Annotated[
        Path | None, typer.Option(metavar="PNG|HTML", help="Also show the first crops, each with its word.")
    ] = None,
) -> None:
    """Render words into a pack, for align (pack=DIR) and finetune (data.pack=DIR) to read many times.

    Or into a data set for other programs: --as folder, --as lmdb. Jobs of one pack may share --out; folders and LMDBs
    take one --out each.
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import SynthRecipe
    from dptr.synth import describe_embedded, find_fonts
    from dptr.synth.datasets import parse_shard, shard_range, write_folder, write_synth_lmdb
    from dptr.synth.pack import write_pack
    from dptr.training.resolve import resolve_synth

    recipe = resolve_synth(load_recipe(SynthRecipe, config, overrides))
    part = parse_shard(shard)
    first, last = shard_range(part, count)
    for line in [] if recipe.render.fonts else describe_embedded(find_fonts()):
        print(line, file=sys.stderr)
    if sheet:
        _show_rendered(recipe, range(first, min(last, first + 96)), sheet)
    with progress_bars() as bars:
        if kind == "pack":
            write_pack(recipe, count, out, workers, resume, lambda done: bars("crops", done, count), part)
        elif kind in ("folder", "lmdb"):
            write = write_folder if kind == "folder" else write_synth_lmdb
            write(recipe, first, last, out, workers, resume, lambda done: bars("crops", done, last - first))
        else:
            raise UserError(f"--as {kind}: unknown; choose pack, folder or lmdb")
    print(out)


def fonts(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE|DIR", help="Where to look; the default is the system's folders, then the package."
        ),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw sample words with them into a picture.")
    ] = None,
) -> None:
    """List the fonts that rendering can use, and count those left out by reason."""
    from dptr.synth.fonts import describe_embedded, find_fonts, scan_fonts

    scan = scan_fonts(paths or [])
    for font in scan.fonts:
        characters = sum(last - first + 1 for first, last in font.coverage)
        print(f"{font.family}\t{font.style}\t{characters}\t{font.path}")
    for line in [scan.describe(), *describe_embedded(scan.fonts, paths or [])]:
        print(line, file=sys.stderr)
    if not scan.fonts:
        find_fonts(paths or [])  # raises, and says what to install
    if sheet:
        _draw_sheet(sheet, scan.fonts)


def _draw_sheet(path: Path, faces: Sequence[Any]) -> None:
    from dptr.config.render import CorpusConfig, RenderConfig
    from dptr.synth import FontIndex, Renderer, draw_contact_sheet
    from dptr.text.charset import resolve_charset
    from dptr.text.corpus import Corpus

    corpus = Corpus(CorpusConfig(), resolve_charset("94"), 25, seed=0, split="all")
    renderer = Renderer(RenderConfig(), 0, FontIndex(faces))
    words = [word for word in map(corpus.word, range(200)) if renderer.can_draw(word)]
    if not words:
        raise UserError(f"{path}: none of the fonts draws an English word; pass fonts with Latin letters")
    picture = draw_contact_sheet(renderer, words[:96])
    with whole_file(path) as aside:
        picture.save(aside, "PNG")


def _show_rendered(recipe: Any, indices: range, path: Path) -> None:
    from html import escape

    from PIL import Image

    from dptr.synth import draw_labeled_sheet
    from dptr.synth.worker import make_source
    from dptr.utils.html import data_url, wrap

    if path.suffix.lower() not in (".png", ".html"):
        raise UserError(f"--sheet {path}: neither .png nor .html; name the file so")
    source = make_source(recipe)
    samples = [source.sample(index)[:2] for index in indices]
    if path.suffix.lower() == ".png":
        with whole_file(path) as aside:
            draw_labeled_sheet(samples, source.renderer.fonts).save(aside, "PNG")
        return
    cards = "".join(
        f'<article><div class="picture"><img alt="" src="{data_url(Image.fromarray(crop))}"></div>'
        f"<dl><dt>{index}</dt><dd><bdi>{escape(word)}</bdi></dd></dl></article>"
        for index, (crop, word) in zip(indices, samples, strict=True)
    )
    page = wrap("Rendered words", source.corpus.describe(), f'<main><div class="grid">{cards}</div></main>')
    write_text(path, page)
