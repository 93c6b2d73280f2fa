"""``dptr export``: a recognizer as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    model: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A shipped model (see dptr models) or a folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .onnx file to write.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Labeled crops to check (and calibrate) with; repeatable; none = rendered."),
    ] = None,
    crops: Annotated[int, typer.Option(min=8, help="How many crops are read to check the file.")] = 256,
    int8: Annotated[
        Literal["dynamic", "static"] | None, typer.Option(help="Quantize the weights to 8 bits; docs/export.md.")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store the weights in 16 bits: half the file, computed as before.")
    ] = False,
) -> None:
    """Write a recognizer as one ONNX file, and check that it reads what the recognizer reads.

    It is compared on crops, one by one and in batches of 64: the strings must be the same, probabilities within 1e-4. A
    file that fails is not kept (exit code 2). With --half or --int8 the comparison is made before; what they change is
    printed. Needs dptr[train,export]; reading the file needs neither.
    """
    from dptr.export import export

    parity, smaller = export(model, out, data or [], crops, int8, half)
    print(f"{out}\t{out.stat().st_size / 1e6:.2f} MB")
    print(f"float32: {parity.describe()}")
    if smaller:
        print(f"{f'int8 {int8}' if int8 else 'float16 weights'}: {smaller.describe()}")
