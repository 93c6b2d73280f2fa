"""Smaller files, with readings that may differ: weights of 16 bits, or of 8 by onnxruntime's quantiser."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxscript import optimizer

from dptr.utils.images import to_pixels

_HALVED = 256  # elements; of fewer the cast would take as many bytes as it saves


class _Crops(CalibrationDataReader):
    def __init__(self, crops: Sequence[np.ndarray]) -> None:
        self.rest: Iterator[np.ndarray] = iter(crops)

    def get_next(self) -> dict[str, np.ndarray] | None:
        crop = next(self.rest, None)
        return None if crop is None else {"pixels": to_pixels(crop[None])}


def quantise(made: onnx.ModelProto, crops: Sequence[np.ndarray] | None) -> onnx.ModelProto:
    """The graph with int8 weights, a scale a channel.

    Args:
        crops: uint8 (h, own width, 3), to calibrate the range of activations with (static: convolutions and matrix
            products outside the loop of decoding steps); None = ranges are found while computing (dynamic: matrix
            products, in the loop too).
    """
    if crops is not None:
        made = optimizer.optimize(made)  # folds batch norms into convolutions, which then are quantised as one
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(made.SerializeToString())
        if crops is None:
            quantize_dynamic(
                before, after, ["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8,
                extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
            )  # fmt: skip
        else:
            quantize_static(
                before, after, _Crops(crops), QuantFormat.QDQ, ["Conv", "MatMul", "Gemm"], per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
        return onnx.load(after)


def halve(made: onnx.ModelProto, exact: bool = False) -> onnx.ModelProto:
    """The graph with its larger weights in float16, cast to float32 before use: onnxruntime does that once, on loading.

    Computing stays in float32, which a CPU is faster in. Small tensors stay as they are, and those with a number beyond
    float16. ``exact``: so do all that float16 would round; of a model that was saved in float16, none. Then nothing
    changes but the size.
    """
    small = onnx.ModelProto()
    small.CopyFrom(made)
    for graph in _graphs(small.graph):
        casts = []
        for tensor in graph.initializer:
            if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _HALVED:
                continue
            values = numpy_helper.to_array(tensor)
            with np.errstate(over="ignore"):
                halved = values.astype(np.float16)
            if not np.isfinite(halved).all() or (exact and not np.array_equal(halved, values)):
                continue
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(halved, f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
        for position, cast in enumerate(casts):
            graph.node.insert(position, cast)
    return small


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
