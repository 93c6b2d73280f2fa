"""Trace a PyTorch module to an ONNX graph."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import torch
from onnx import compose, helper
from onnxscript import optimizer
from torch import nn

OPSET = 18  # from 2022; onnxruntime 1.14 and later support it, in its web and mobile builds too
EXAMPLE_BATCH = 2  # batch size of the example inputs; torch.export proves that the graph works for any other
EXAMPLE_PAST = 3  # decoded symbols before the traced step, in the example inputs


def trace(
    module: nn.Module, inputs: dict[str, Any], outputs: Sequence[str], dynamic: dict[str, Any], prefix: str = ""
) -> onnx.GraphProto:
    """Trace a module, which is put into eval mode.

    Args:
        module: its ``forward`` takes the keys of ``inputs`` as arguments.
        inputs: example inputs by name; a list of tensors becomes the inputs ``NAME_0``, ``NAME_1``, ...
        outputs: names of the outputs.
        dynamic: dynamic dimensions by input, as ``torch.export.export`` takes them in ``dynamic_shapes``.
        prefix: is put before all names but those of inputs and outputs.
    """
    names = [
        name if not isinstance(value, list) else f"{name}_{index}"
        for name, value in inputs.items()
        for index in range(len(value) if isinstance(value, list) else 1)
    ]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about deprecated calls in its own code
        program = torch.export.export(module.eval(), (), inputs, dynamic_shapes=dynamic, strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, input_names=names, output_names=list(outputs), opset_version=OPSET, verbose=False,
            optimize=False,
        )  # fmt: skip
    assert exported is not None
    optimizer.fold_constants(exported.model)  # torch's full optimization would also fold batch norms
    optimizer.remove_unused_nodes(exported.model)
    proto = exported.model_proto
    assert not proto.functions
    for node in proto.graph.node:
        node.ClearField("metadata_props")  # holds stack traces with paths of this machine
        node.ClearField("doc_string")
    proto.graph.ClearField("value_info")
    if prefix:
        compose.add_prefix_graph(proto.graph, prefix, rename_inputs=False, rename_outputs=False, inplace=True)
    return proto.graph


def value(name: str, kind: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    """Describe an input or output.

    Args:
        name: its name.
        kind: its type, a constant of ``onnx.TensorProto``.
        shape: a size for each axis; a string names a dynamic axis.
    """
    return helper.make_tensor_value_info(name, kind, shape)
