"""Store the weights of ONNX files in 16 or 8 bits. The network still computes in float32.

``halve`` stores them in float16, ``round_weights`` in int8. A file that was rounded may read differently.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

_MIN_HALVED = 256  # elements; for smaller tensors the Cast node takes as many bytes as float16 saves
_MIN_ROUNDED = 4096  # elements; smaller tensors are a small part of the file


def halve(graph: onnx.ModelProto, exact: bool = False) -> onnx.ModelProto:
    """Store the larger weights in float16, and cast them to float32 before use; onnxruntime casts once, on loading.

    The model still computes in float32, which is faster on a CPU. Small tensors keep float32, and so do tensors with a
    value beyond the range of float16.

    Args:
        graph: the float32 model, which is not modified.
        exact: also keep tensors that float16 would round, so that only the size of the file changes. A model that was
            saved in float16 has no such tensors.
    """
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    for subgraph in list_graphs(small.graph):
        casts = []
        for tensor in subgraph.initializer:
            if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _MIN_HALVED:
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
            subgraph.node.insert(position, cast)
    return small


def round_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Store the larger weights in int8 with a scale for each channel; onnxruntime multiplies them once, on loading.

    The model still computes in float32, as fast as before. Convolutions have a scale for each output channel, matrices
    one for each column.
    """
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    for subgraph in list_graphs(small.graph):
        nodes = []
        for tensor in [*subgraph.initializer]:
            is_large = np.prod(tensor.dims) >= _MIN_ROUNDED and len(tensor.dims) > 1
            if tensor.data_type != onnx.TensorProto.FLOAT or not is_large:
                continue
            name, values = tensor.name, numpy_helper.to_array(tensor)
            axes = tuple(range(1, values.ndim)) if values.ndim > 2 else 0
            scales = np.maximum(np.abs(values).max(axes, keepdims=True), 1e-12) / 127
            tensor.CopyFrom(numpy_helper.from_array(np.round(values / scales).astype(np.int8), f"{name}.int8"))
            subgraph.initializer.append(numpy_helper.from_array(scales, f"{name}.scales"))
            nodes += [
                onnx.helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT),
                onnx.helper.make_node("Mul", [f"{name}.float", f"{name}.scales"], [name]),
            ]
        for position, node in enumerate(nodes):
            subgraph.node.insert(position, node)
    return small


def list_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and, recursively, the subgraphs in its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from list_graphs(attribute.g)
