"""``dptr export``: convert a recognizer to one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from dptr.cli.command import command
from dptr.cli.options import data_option, model_option, out_option
from dptr.utils.errors import UserError
from dptr.utils.terminal import say


@command("export", "train", "export")
@click.argument("former", nargs=-1, metavar="")
@model_option("A shipped model (dptr models) or a folder.", "NAME|DIR")
@out_option("The .onnx file to write.", "FILE")
@data_option("Labeled crops for the check and for calibration; repeatable. Default: rendered words.")
@click.option(
    "--crops", metavar="N", type=click.IntRange(min=8), default=256, help="Number of crops for the check. Default: 256."
)
@click.option(
    "--int8",
    type=click.Choice(["weights", "dynamic", "static"]),
    help="Store the weights in 8 bits; dynamic and static also compute in 8 bits (docs/export.md).",
)
@click.option(
    "--half",
    is_flag=True,
    help="Store the weights in 16 bits, which halves the file. The shipped models have 16 bits already.",
)
def export(
    former: tuple[str, ...], model: str, out: Path, data: tuple[str, ...], crops: int,
    int8: Literal["weights", "dynamic", "static"] | None, half: bool,
) -> None:  # fmt: skip
    """Convert a recognizer to one ONNX file, and check it.

    Compares the file with the recognizer on crops, one by one and in batches of 64. Texts must be equal, and
    probabilities must agree within 1e-3; otherwise no file is written (exit code 2). --half and --int8 are applied
    after this check, and what they change is printed. The base installation can read with the file.
    """
    from dptr.export import export

    if former:
        raise UserError(f"'{former[0]}': the model is an option now; write --model {former[0]}")
    parity, smaller = export(model, out, [Path(path) for path in data], crops, int8, half)
    print(f"{out}\t{out.stat().st_size / 1e6:.2f} MB")
    print(f"float32: {parity.describe()}")
    if smaller:
        print(f"{f'int8 {int8}' if int8 else 'float16 weights'}: {smaller.describe()}")
    if int8 in ("dynamic", "static"):
        say("dptr: the file has no confidences for --precision, which were measured in float32 (docs/export.md)")
