"""``dptr synth`` and ``dptr fonts``: render words, and list the fonts for rendering."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dptr.cli.command import command
from dptr.cli.options import config_options, out_option
from dptr.cli.outputs import check_outputs, report_options, write_report
from dptr.utils.errors import UserError
from dptr.utils.files import atomic_file
from dptr.utils.terminal import progress_bars, say, write_text


@command("synth", "train", renamed={"--as": "--format"})
@out_option("The output.")
@click.option(
    "--count", metavar="N", type=click.IntRange(min=1), required=True, help="Number of crops, in all shards together."
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["pack", "shards", "folder", "lmdb"]),
    default="pack",
    help="pack: for training with dptr; shards (Parquet), folder, lmdb: data sets for other programs too. Default: "
    "pack.",
)
@click.option("--shard", metavar="I/N", default="0/1", help="Render only part I of N, counted from 0. Default: 0/1.")
@click.option("--workers", metavar="N", type=click.IntRange(min=1), default=1, help="Number of processes. Default: 1.")
@click.option(
    "--sheet",
    metavar="PNG|HTML",
    type=click.Path(path_type=Path),
    help="Also write a picture or page of the first crops with their words.",
)
@config_options()
@click.option("--resume", is_flag=True, help="Continue or enlarge the data set in --out.")
def synth(
    out: Path, count: int, style: str, shard: str, workers: int, sheet: Path | None, config: Path | None,
    overrides: tuple[str, ...], resume: bool,
) -> None:  # fmt: skip
    """Render words as crops for training.

    A pack is a folder of rendered crops, which align (pack=DIR) and finetune (data.pack=DIR) can train on many times.
    Shards can be used in the same way, and are labeled crops for all other commands too. Several jobs may write one
    pack to the same --out; each job for a folder or an LMDB needs its own --out.
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
        say(line, level=-1)
    if sheet:
        _show_rendered(recipe, range(first, min(last, first + 96)), sheet)

    def tell(lines: list[str]) -> None:
        for line in lines:
            say(line, level=-1)

    with progress_bars() as bars:
        if style in ("pack", "shards"):
            kind = "parquet" if style == "shards" else "safetensors"
            write_pack(recipe, count, out, workers, resume, lambda done: bars("crops", done, count), part, kind, tell)
        else:
            write = write_folder if style == "folder" else write_synth_lmdb
            write(recipe, first, last, out, workers, resume, lambda done: bars("crops", done, last - first), tell)
    print(out)


@command("fonts", "train")
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...", type=click.Path(path_type=Path))
@report_options("tsv", "json")
@click.option("--sheet", metavar="PNG", type=click.Path(path_type=Path), help="Also draw sample words in these fonts.")
def fonts(paths: tuple[Path, ...], style: str, out: str, sheet: Path | None) -> None:
    """List the fonts that rendering can use.

    Searches the given files and folders. Default: the folders of the system, then those of the package. Fonts that are
    left out are counted by reason on standard error.
    """
    from dptr.synth.fonts import describe_embedded, find_fonts, scan_fonts

    check_outputs(out, style, png=sheet)
    scan = scan_fonts([*paths])
    rows = [
        {
            "family": font.family, "style": font.style, "path": str(font.path),
            "characters": sum(last - first + 1 for first, last in font.coverage),
        }
        for font in scan.fonts
    ]  # fmt: skip
    for line in [scan.describe(), *describe_embedded(scan.fonts, [*paths])]:
        say(line)
    if not scan.fonts:
        find_fonts([*paths])  # raises an error that says what to install
    columns = "family", "style", "characters", "path"
    lines = ["\t".join(str(row[column]) for column in columns) for row in rows]
    write_report({"fonts": rows}, lambda: "\n".join(lines), style, out)
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
    with atomic_file(path) as aside:
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
        with atomic_file(path) as aside:
            draw_labeled_sheet(samples, source.renderer.fonts).save(aside, "PNG")
        return
    cards = "".join(
        f'<article><div class="picture"><img alt="" src="{data_url(Image.fromarray(crop))}"></div>'
        f"<dl><dt>{index}</dt><dd><bdi>{escape(word)}</bdi></dd></dl></article>"
        for index, (crop, word) in zip(indices, samples, strict=True)
    )
    page = wrap("Rendered words", source.corpus.describe(), f'<main><div class="grid">{cards}</div></main>')
    write_text(path, page)
