"""A module as a graph of ONNX."""

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

OPSET = 18  # of 2022: onnxruntime from 1.14 on, its web and mobile builds too
EXAMPLE_BATCH = 2  # of the tensors that are traced; torch.export proves that the graph holds for any
EXAMPLE_PAST = 3  # symbols read before the step that is traced


def trace(
    module: nn.Module, inputs: dict[str, Any], outputs: Sequence[str], dynamic: dict[str, Any], prefix: str = ""
) -> onnx.GraphProto:
    """The graph of a module; names of inputs and outputs are kept, all others get the prefix."""
    names = [
        name if not isinstance(value, list) else f"{name}_{index}"
        for name, value in inputs.items()
        for index in range(len(value) if isinstance(value, list) else 1)
    ]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own deprecated calls
        program = torch.export.export(module.eval(), (), inputs, dynamic_shapes=dynamic, strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, input_names=names, output_names=list(outputs), opset_version=OPSET, verbose=False,
            optimize=False,
        )  # fmt: skip
    assert exported is not None
    optimizer.fold_constants(exported.model)  # the rest of what torch would do here folds batch norms too
    optimizer.remove_unused_nodes(exported.model)
    proto = exported.model_proto
    assert not proto.functions
    for node in proto.graph.node:
        node.ClearField("metadata_props")  # stack traces of this machine
        node.ClearField("doc_string")
    proto.graph.ClearField("value_info")
    if prefix:
        compose.add_prefix_graph(proto.graph, prefix, rename_inputs=False, rename_outputs=False, inplace=True)
    return proto.graph


def value(name: str, kind: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    """The name, the type (``onnx.TensorProto``), and the shape of an input or output; a string is any number."""
    return helper.make_tensor_value_info(name, kind, shape)
