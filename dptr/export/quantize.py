"""Smaller files, whose readings may differ: weights of 16 bits, or of 8 bits by onnxruntime's quantizer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxscript import optimizer

from dptr.utils.resize import to_pixels

_MIN_ELEMENTS = 256  # of a tensor that is halved; for fewer the cast takes as many bytes as it saves
_MIN_ROUNDED = 4096  # of a tensor that is rounded to 8 bits; smaller ones are a small part of the file


class _Crops(CalibrationDataReader):
    def __init__(self, crops: Sequence[np.ndarray]) -> None:
        self.rest: Iterator[np.ndarray] = iter(crops)

    def get_next(self) -> dict[str, np.ndarray] | None:
        crop = next(self.rest, None)
        return None if crop is None else {"pixels": to_pixels(crop[None])}


def quantize(graph: onnx.ModelProto, crops: Sequence[np.ndarray] | None) -> onnx.ModelProto:
    """Store the weights in int8, with a scale for each channel.

    Args:
        crops: uint8 (h, own width, 3), to calibrate the range of activations with (static: convolutions and matrix
            products outside the loop of decoding steps); None = ranges are found while computing (dynamic: matrix
            products, in the loop too).
    """
    if crops is not None:
        graph = _fold_batch_norms(graph)
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(graph.SerializeToString())
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


def _fold_batch_norms(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Fold them into convolutions, which then are quantized as one. Defaults of inputs are no constants."""
    bare = onnx.ModelProto()
    bare.CopyFrom(graph)
    inputs = {each.name for each in bare.graph.input}
    defaults = [each for each in graph.graph.initializer if each.name in inputs]
    for each in defaults:
        bare.graph.initializer.remove(each)
    folded = optimizer.optimize(bare)
    folded.graph.initializer.extend(defaults)
    return folded


def halve(graph: onnx.ModelProto, exact: bool = False) -> onnx.ModelProto:
    """Store the larger weights in float16 and cast them to float32 before use: onnxruntime does so once, on loading.

    Computing stays in float32, which is faster on a CPU. Small tensors stay as they are, and so do tensors with a
    number beyond the range of float16.

    Args:
        exact: leave tensors that float16 would round as they are too, so that nothing but the size changes. A model
            that was saved in float16 has none.
    """
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    for part in _graphs(small.graph):
        casts = []
        for tensor in part.initializer:
            if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _MIN_ELEMENTS:
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
            part.node.insert(position, cast)
    return small


def round_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Store the larger weights in 8 bits with a scale for each channel: onnxruntime multiplies them once, on loading.

    Computing stays in float32, as fast as before. Convolutions have a scale for each output channel, matrices for each
    column.
    """
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    for part in _graphs(small.graph):
        nodes = []
        for tensor in [*part.initializer]:
            many = np.prod(tensor.dims) >= _MIN_ROUNDED and len(tensor.dims) > 1
            if tensor.data_type != onnx.TensorProto.FLOAT or not many:
                continue
            name, values = tensor.name, numpy_helper.to_array(tensor)
            axes = tuple(range(1, values.ndim)) if values.ndim > 2 else 0
            scales = np.maximum(np.abs(values).max(axes, keepdims=True), 1e-12) / 127
            tensor.CopyFrom(numpy_helper.from_array(np.round(values / scales).astype(np.int8), f"{name}.int8"))
            part.initializer.append(numpy_helper.from_array(scales, f"{name}.scales"))
            nodes += [
                onnx.helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT),
                onnx.helper.make_node("Mul", [f"{name}.float", f"{name}.scales"], [name]),
            ]
        for position, node in enumerate(nodes):
            part.node.insert(position, node)
    return small


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
