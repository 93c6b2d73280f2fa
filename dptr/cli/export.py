"""``dptr export``: a recognizer as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from dptr.cli.command import command
from dptr.cli.options import data_option, model_option, out_option
from dptr.utils.errors import UserError


@command("export", "train", "export")
@click.argument("former", nargs=-1, metavar="")
@model_option("A shipped model (dptr models) or a folder.", "NAME|DIR")
@out_option("The .onnx file to write.", "FILE")
@data_option("Labeled crops to check, and calibrate, with; repeatable. Default: rendered words.")
@click.option(
    "--crops", metavar="N", type=click.IntRange(min=8), default=256, help="How many crops check the file. Default: 256."
)
@click.option(
    "--int8",
    type=click.Choice(["weights", "dynamic", "static"]),
    help="Store the weights in 8 bits; dynamic and static compute in them too (docs/export.md).",
)
@click.option(
    "--half",
    is_flag=True,
    help="Store the weights in 16 bits: half the file of a model that you trained. Those that ship have 16 already.",
)
def export(
    former: tuple[str, ...], model: str, out: Path, data: tuple[str, ...], crops: int,
    int8: Literal["weights", "dynamic", "static"] | None, half: bool,
) -> None:  # fmt: skip
    """Write a recognizer as one ONNX file, and check it.

    The file is compared with the recognizer on crops, one by one and in batches of 64: the strings must be the same,
    probabilities within 1e-3. A file that fails is not kept (exit code 2). With --half or --int8 the comparison is made
    before; what they change is printed. Reading the file needs the base install only.
    """
    from dptr.export import export

    if former:
        raise UserError(f"'{former[0]}': the model is an option now; write --model {former[0]}")
    parity, smaller = export(model, out, [Path(path) for path in data], crops, int8, half)
    print(f"{out}\t{out.stat().st_size / 1e6:.2f} MB")
    print(f"float32: {parity.describe()}")
    if smaller:
        print(f"{f'int8 {int8}' if int8 else 'float16 weights'}: {smaller.describe()}")
