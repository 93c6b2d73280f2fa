"""Let ONNX files compute in 8 bits, with the quantizer of onnxruntime. Such a file may read differently."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from onnxscript import optimizer

from dptr.export.gelu import fuse_gelus
from dptr.utils.resize import to_pixels

Ranges = Literal["extremes", "means"]


class _Crops(CalibrationDataReader):
    def __init__(self, crops: Sequence[np.ndarray]) -> None:
        self.crops: Iterator[np.ndarray] = iter(crops)

    def get_next(self) -> dict[str, np.ndarray] | None:
        crop = next(self.crops, None)
        return None if crop is None else {"pixels": to_pixels(crop[None])}


def quantize(graph: onnx.ModelProto, crops: Sequence[np.ndarray] | None) -> onnx.ModelProto:
    """Quantize the weights to int8 with a scale for each channel, and compute in 8 bits.

    Args:
        graph: the float32 model.
        crops: uint8 (h, w, 3), whose widths may differ; they calibrate the ranges of activations. This is static
            quantization (``quantize_activations``), with the ranges whose outputs on these crops are nearest to those
            in float32. None = dynamic quantization, which measures ranges while it computes. It covers matrix products,
            in the loop of decoding steps too.
    """
    if crops is not None:
        expected = _run(graph, crops)
        candidates = [quantize_activations(graph, crops, ranges) for ranges in get_args(Ranges)]
        return min(candidates, key=lambda candidate: _total_variation(expected, _run(candidate, crops)))
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(graph.SerializeToString())
        quantize_dynamic(
            before, after, ["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8,
            extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
        )  # fmt: skip
        return onnx.load(after)


def quantize_activations(graph: onnx.ModelProto, crops: Sequence[np.ndarray], ranges: Ranges) -> onnx.ModelProto:
    """Compute convolutions and matrix products outside of loops in 8 bits (static quantization).

    - Weights have 7 bits. CPUs without instructions for 8-bit products (VNNI) add pairs of them in 16 bits, which
      weights of 8 bits overflow.
    - Float32 remain: the convolution of the pixels, depthwise convolutions, and those of pooled features
      (squeeze-and-excitation). They lose most and save little (docs/LOG.md, "computing in 8 bits").
    - Each GELU becomes one node, as onnxruntime does not recognize it between quantized convolutions.

    Args:
        graph: the float32 model.
        crops: uint8 (h, w, 3); they calibrate the ranges of activations.
        ranges: from the least to the greatest value of all crops, or from the mean of the crops' least values to that
            of their greatest. Means have finer steps, and cut off outliers.
    """
    graph = _fold_batch_norms(graph)
    fuse_gelus(graph)
    add_pre_process_metadata(graph)  # otherwise the quantizer logs advice
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(graph.SerializeToString())
        quantize_static(
            before, after, _Crops(crops), QuantFormat.QDQ, ["Conv", "MatMul", "Gemm"], per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=True,
            nodes_to_exclude=[*_list_float_convolutions(graph.graph)],
            extra_options={"MatMulConstBOnly": True, "CalibMovingAverage": ranges == "means"},
        )  # fmt: skip
        return onnx.load(after)


def _run(graph: onnx.ModelProto, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first output for each crop."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    return [session.run(None, {"pixels": to_pixels(crop[None])})[0][0] for crop in crops]


def _total_variation(expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> float:
    """Half the sum of absolute differences, as the mean over positions and crops; words may end at other positions."""
    pairs = [(one[: len(two)], two[: len(one)]) for one, two in zip(expected, actual, strict=True)]
    return float(np.mean([np.abs(one - two).sum(-1).mean() / 2 for one, two in pairs]))


def _list_float_convolutions(graph: onnx.GraphProto) -> Iterator[str]:
    """The names of the convolutions that remain in float32: see ``quantize_activations``."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    pixels = {each.name for each in graph.input} - constants.keys()
    pooled: set[str] = set()
    for node in graph.node:  # in topological order
        variables = {name for name in node.input if name and name not in constants}
        if _is_global_pooling(node, constants) or (variables and variables <= pooled):
            pooled.update(node.output)
        if node.op_type == "Conv":
            groups = next((each.i for each in node.attribute if each.name == "group"), 1)
            if node.input[0] in pixels | pooled or groups > 1:
                yield node.name


def _is_global_pooling(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a node averages over height and width."""
    axes = constants.get(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) > 1 else None
    if axes is None:
        return node.op_type == "GlobalAveragePool"
    return {int(axis) % 4 for axis in numpy_helper.to_array(axes)} == {2, 3}


def _fold_batch_norms(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Fold batch norms into convolutions, so that both are quantized together.

    Initializers that are defaults of inputs are removed meanwhile; the optimizer would treat them as constants.
    """
    stripped = onnx.ModelProto()
    stripped.CopyFrom(graph)
    inputs = {each.name for each in stripped.graph.input}
    defaults = [tensor for tensor in graph.graph.initializer if tensor.name in inputs]
    for tensor in defaults:
        stripped.graph.initializer.remove(tensor)
    folded = optimizer.optimize(stripped)
    folded.graph.initializer.extend(defaults)
    return folded
