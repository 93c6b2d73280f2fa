"""Export: a recognizer as one ONNX file, which is written only if it reads what the recognizer reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

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
from dptr.export.parity import TOLERANCE, Parity, compare, load_first_crops, render_crops
from dptr.export.quantize import halve, quantize, round_weights
from dptr.inference.locate import check_model
from dptr.inference.onnx_backend import METADATA, SUFFIX, OnnxModel, dump_metadata, seal
from dptr.utils.files import atomic_file, digest
from dptr.utils.outputs import check_file

__all__ = ["Int8", "Parity", "export"]

Int8 = Literal["weights", "dynamic", "static"]


def export(
    model: str | Path,
    out: str | Path,
    data: Sequence[Path] = (),
    count: int = 256,
    int8: Int8 | None = None,
    half: bool = False,
) -> tuple[Parity, Parity | None]:
    """Write ``model`` as an ONNX file, whole or not at all.

    Args:
        model: a shipped name or a checkpoint folder.
        out: the file; its name ends in ``.onnx``.
        data: labeled crops to compare on and, for ``static``, to calibrate with; none = rendered words.
        count: how many crops, >= 1.
        int8: quantize the file that passed; ``weights`` stores them in 8 bits and computes as before, ``dynamic``
            computes matrix products in 8 bits, ``static`` convolutions as well.
        half: store the weights of the file that passed in float16; it computes in float32 as before.

    Returns:
        How the file in float32 compares with the model, and how the smaller one does.

    Raises:
        UserError: both ``int8`` and ``half``, ``out`` is a file that DPTR did not write, no such model, no crops, a
            model whose graph would hold for one batch size only, or the file in float32 does not read what the model
            reads.
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
    crops = load_first_crops(list(data), size, count) if data else render_crops(tokenizer, size, count)
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
                f"{out}: not written, for it does not read what '{model}' reads: {parity.describe()} (allowed: "
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
            metadata = dump_metadata(name, tokenizer, size, reference.card, weights, numbers, reference.temperature)
            _save(small, aside, metadata)
            smaller = compare(reference, OnnxModel(aside), crops)
    return parity, smaller


def _save(graph: onnx.ModelProto, path: Path, metadata: str) -> None:
    onnx.helper.set_model_props(graph, {METADATA: metadata})
    graph.producer_name = "dptr"
    path.write_bytes(seal(graph.SerializeToString()))
