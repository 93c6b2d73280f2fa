"""``dptr read``: word crops in, a line of text for each out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dptr.cli.options import Device, Model, Tta, Turn
from dptr.utils.errors import UserError
from dptr.utils.terminal import say, say_error, to_json
from dptr.weights import DEFAULT_MODEL

if TYPE_CHECKING:
    from dptr.inference.prediction import Prediction


def read(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE|DIR...", help="Word crops, or folders of them.")],
    model: Model = DEFAULT_MODEL,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object a line, with each character's confidence.")
    ] = False,
    device: Device = "cpu",
    turn: Turn = True,
    tta: Tta = 1,
) -> None:
    """Read word crops: a line an image, PATH, TEXT and CONFIDENCE (0 to 1) separated by tabs.

    A folder stands for the pictures directly in it (known suffixes; not those in its sub-folders), in natural order.
    Lines come as batches finish. Exit code 2 when an input could not be read; the others still are.
    """
    from dptr.inference.reader import Reader
    from dptr.utils.images import list_images

    reader = Reader(model, device, turn=turn, tta=tta)
    paths: list[str] = []
    failed = False
    for source in images:
        try:
            paths += list_images(source) if os.path.isdir(source) else [source]
        except UserError as error:
            say_error(error)
            failed = True
    for path, outcome in zip(paths, reader.stream(paths), strict=True):
        if isinstance(outcome, UserError):
            say_error(outcome)
            failed = True
        elif as_json:
            print(to_json({"path": path, **_to_row(outcome)}), flush=True)
        else:
            print(f"{path}\t{outcome.text}\t{outcome.confidence:.4f}", flush=True)
            if outcome.runaway:
                say(f"dptr: {path}: the reading repeats itself to the longest word of the model; take it as none")
    if failed:
        raise typer.Exit(2)


def _to_row(prediction: Prediction) -> dict[str, Any]:
    return {
        "text": prediction.text,
        "confidence": _round(prediction.confidence),
        "runaway": prediction.runaway,
        "turned": prediction.turned,
        "characters": [(character, _round(probability)) for character, probability in prediction.characters],
    }


def _round(probability: float) -> float:
    """Six significant digits: all that float32 holds."""
    return float(f"{probability:.6g}")
