"""``dptr export-page``: a page that reads without a server."""

from __future__ import annotations

from pathlib import Path

import click

from dptr.cli.command import command
from dptr.cli.options import model_option, out_option


@command("export-page")
@model_option()
@out_option("The folder to write: new, empty, or an earlier page.")
@click.option("--crops-only", is_flag=True, help="Without the detector: the page reads crops of one word each.")
@click.option(
    "--runtime", metavar="TGZ", type=click.Path(path_type=Path),
    help="npm's package of onnxruntime-web. Default: npm loads it.",
)  # fmt: skip
def export_page(model: str, out: Path, crops_only: bool, runtime: Path | None) -> None:
    """Write a page that reads pictures in the browser alone.

    The folder holds the page, the model, and onnxruntime-web. Any web server can serve it; pictures stay in the
    browser. The model has to be exported (dptr export), as those that ship are.
    """
    from dptr.browser import export_page as write

    sizes = write(out, model, not crops_only, runtime)
    for path, size in sizes.items():
        print(f"{path}\t{size / 1e6:.2f} MB")
    print(f"{out}\t{sum(sizes.values()) / 1e6:.2f} MB")
