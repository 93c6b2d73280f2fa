"""Export a recognizer to one ONNX file, and check that the file reads the same text as the recognizer.

A float32 file that fails the check is not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package
from dptr.weights import model_file

try:
    import onnx
    import onnxruntime  # noqa: F401
    import torch._dynamo.exc

    from dptr.export.graph import to_onnx
    from dptr.inference.torch_backend import TorchModel
except ModuleNotFoundError as error:
    raise missing_package(error, "dptr export", "train", "export") from error
from dptr.export.parity import TOLERANCE, Parity, compare, load_sample, render_crops
from dptr.export.quantize import quantize
from dptr.export.rounding import halve, round_weights
from dptr.inference.locate import check_model
from dptr.inference.onnx_backend import METADATA, SUFFIX, OnnxModel, dump_metadata, seal
from dptr.utils.files import atomic_file, digest
from dptr.utils.outputs import check_file
from dptr.utils.terminal import say

__all__ = ["Int8", "Parity", "describe_numbers", "export"]

Int8 = Literal["weights", "dynamic", "static"]


def export(
    model: str | Path,
    out: str | Path,
    data: Sequence[Path] = (),
    count: int = 256,
    int8: Int8 | None = None,
    half: bool = False,
) -> tuple[Parity, Parity | None]:
    """Write ``model`` as an ONNX file. The write is atomic: a failure leaves no partial file.

    The float32 graph is checked first. ``int8`` or ``half`` then shrinks the graph that passed, and only the smaller
    file is kept; the difference that this makes is measured, but not limited.

    Args:
        model: a shipped name or a checkpoint folder.
        out: the output file; its name must end in ``.onnx``.
        data: labeled crops for the comparison and for calibrating ``static``; empty = words are rendered instead.
        count: number of crops, >= 1.
        int8: how to quantize. ``weights`` stores weights in 8 bits and computes in float32. ``dynamic`` also computes
            matrix products in 8 bits. ``static`` computes convolutions in 8 bits as well.
        half: store weights in float16 and compute in float32.

    Returns:
        The comparison of the float32 file with the model, and that of the smaller file (None without ``int8`` and
        ``half``).

    Raises:
        UserError: both ``int8`` and ``half`` are given, ``out`` has another suffix or is a file that DPTR did not
            write, there is no such model, ``count`` is below 1, there are too few crops, the graph would work for one
            batch size only, or the float32 file reads differently from the model.
    """
    out = Path(out)
    if out.suffix != SUFFIX:
        raise UserError(f"--out {out}: an ONNX file is written; let its name end in {SUFFIX}")
    if int8 and half:
        raise UserError(f"--half with --int8 {int8}: weights have 16 bits or 8; leave one of the two out")
    if count < 1:
        raise UserError(f"count {count}: below 1; pass 1 or more crops to check the file with")
    if Path(model).suffix == SUFFIX:
        raise UserError(f"model '{model}': exported already; pass the folder that it came from")
    check_model(model)
    check_file(out, kind="onnx")
    reference = TorchModel(model)
    tokenizer, size = reference.tokenizer, reference.size
    if data:
        crops, drops = load_sample(list(data), size, count)
        for line in drops.lines():
            say(line, level=-1)
    else:
        crops = render_crops(tokenizer, size, count)
    try:
        graph = to_onnx(reference.model, size)
    except torch._dynamo.exc.UserError as error:
        raise UserError(
            f"'{model}': its graph would hold for one batch size only ({str(error).splitlines()[0]}); read it with "
            "torch, or train one with another image encoder (SigLIP 2 NaFlex's is such; its fixed resolutions are not)"
        ) from error
    weights = digest(model_file(model, "model.safetensors"))
    name = reference.card.get("name") or Path(model).name
    smaller = None
    with atomic_file(out) as aside:
        metadata = dump_metadata(name, tokenizer, size, reference.card, weights, "float32", reference.temperature)
        _save(halve(graph, exact=True), aside, metadata)
        parity = compare(reference, OnnxModel(aside), crops)
        if not parity.holds():
            raise UserError(
                f"{out}: not written, because it reads differently from '{model}': {parity.describe()} (allowed: "
                f"{TOLERANCE:.0e}); please report it, with the versions of torch and onnxruntime"
            )
        if int8 or half:
            numbers = "float16 weights" if half else f"int8 {int8}"
            if half:
                small = halve(graph)
            elif int8 == "weights":
                small = halve(round_weights(graph), exact=True)
            else:
                small = halve(quantize(graph, crops if int8 == "static" else None), exact=True)
            card = describe_numbers(reference.card, int8)
            metadata = dump_metadata(name, tokenizer, size, card, weights, numbers, reference.temperature)
            _save(small, aside, metadata)
            smaller = compare(reference, OnnxModel(aside), crops)
    return parity, smaller


def describe_numbers(card: dict[str, Any], int8: Int8 | None) -> dict[str, Any]:
    """The card of a file that computes with other numbers than the model.

    Without the confidences by precision (``Reader.least_confidence``) where it computes in 8 bits: confidences are
    others then, and which share of the readings above one is right was not measured.
    """
    dropped = {"thresholds"} if int8 in ("dynamic", "static") else set()
    return {key: value for key, value in card.items() if key not in dropped}


def _save(graph: onnx.ModelProto, path: Path, metadata: str) -> None:
    onnx.helper.set_model_props(graph, {METADATA: metadata})
    graph.producer_name = "dptr"
    path.write_bytes(seal(graph.SerializeToString()))
