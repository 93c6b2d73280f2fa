"""``dptr export-page``: write a web page that reads pictures without a server."""

from __future__ import annotations

from pathlib import Path

import click

from dptr.cli.command import command
from dptr.cli.options import model_option, out_option


@command("export-page")
@model_option()
@out_option("The folder to write: new, empty, or an earlier page.")
@click.option("--crops-only", is_flag=True, help="Leave out the text detector: the page reads crops of single words.")
@click.option(
    "--runtime", metavar="TGZ", type=click.Path(path_type=Path),
    help="The npm package of onnxruntime-web. Default: download it with npm.",
)  # fmt: skip
def export_page(model: str, out: Path, crops_only: bool, runtime: Path | None) -> None:
    """Write a web page that reads pictures in the browser.

    The folder holds the page, the model, and onnxruntime-web. Any web server can serve it; pictures stay in the
    browser. The model must be an ONNX file (dptr export); the shipped models have one.
    """
    from dptr.browser import export_page as write

    sizes = write(out, model, not crops_only, runtime)
    for path, size in sizes.items():
        print(f"{path}\t{size / 1e6:.2f} MB")
    print(f"{out}\t{sum(sizes.values()) / 1e6:.2f} MB")
