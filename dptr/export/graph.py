"""Convert a recognizer to one ONNX graph that maps normalized pixels to class probabilities at each position.

A model with a parallel decoder is traced as a whole. With CTC, the uncollapsed path is a second output.

An autoregressive model is traced in parts. The first part computes the keys and values of the encoder's memory. The
branches of an ONNX ``If`` follow: unconstrained decoding (``dptr.export.free_loop``), and a beam search for words that
match a pattern or lexicon (``dptr.export.search_loop``).
"""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dptr.export.free_loop import build_free_loop
from dptr.export.gelu import arrange_gelus
from dptr.export.search_loop import DEFAULTS, build_search_loop
from dptr.export.trace import EXAMPLE_BATCH, OPSET, trace, value
from dptr.inference.onnx_backend import BEAM
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.ctc import CTC, collapse
from dptr.models.recognizer import Recognizer
from dptr.utils.sizes import Sizes

IR_VERSION = 8


class _Parallel(nn.Module):
    def __init__(self, model: Recognizer):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixels).float().softmax(-1)


class _CTCPaths(nn.Module):
    """The collapsed probabilities, and the CTC path that they come from."""

    def __init__(self, model: Recognizer, decoder: CTC):
        super().__init__()
        self.model, self.decoder = model, decoder

    def forward(self, pixels: Tensor) -> list[Tensor]:
        path = self.decoder.predict(self.model.memory(pixels), None)
        collapsed = collapse(path, self.decoder.max_length + 1)
        return [logits.float().softmax(-1) for logits in (collapsed, path)]


class _Encoder(nn.Module):
    def __init__(self, model: Recognizer, decoder: AutoregressiveDecoder):
        super().__init__()
        self.model, self.decoder = model, decoder

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self.decoder.project(self.model.memory(pixels))


def to_onnx(model: Recognizer, size: Sizes) -> onnx.ModelProto:
    """Trace a recognizer in eval mode: ``pixels`` (batch, 3, height, width) -> ``probabilities`` (batch, t, classes).

    t is ``max_length`` + 1, for CTC too. Rows after a word's EOS are meaningless. ``dptr.inference.onnx_backend`` names
    the other outputs and the other inputs, which have defaults.

    The weights equal the model's bit for bit. In particular, batch norms are not folded; onnxruntime folds them when it
    loads the file.

    Args:
        model: the recognizer.
        size: the input sizes that the graph accepts. A side that differs among them becomes a dynamic dimension.
    """
    decoder = model.decoder
    batch = torch.export.Dim("batch", min=1)
    sides_by_name = {"height": [height for height, _ in size.every], "width": [width for _, width in size.every]}
    example = torch.zeros(EXAMPLE_BATCH, 3, max(sides_by_name["height"]), max(sides_by_name["width"]))
    dynamic: dict[int, Any] = {0: batch}
    for axis, (name, sides) in enumerate(sides_by_name.items(), 2):
        if len(set(sides)) > 1:
            unit = gcd(*sides)
            dynamic[axis] = unit * torch.export.Dim(name, min=min(sides) // unit, max=max(sides) // unit)
    inputs: list[onnx.ValueInfoProto] = []
    defaults: list[TensorProto] = []
    if isinstance(decoder, CTC):
        graph = trace(_CTCPaths(model, decoder), {"pixels": example}, ["probabilities", "paths"], {"pixels": dynamic})
    elif not isinstance(decoder, AutoregressiveDecoder) or not decoder.autoregressive:
        graph = trace(_Parallel(model), {"pixels": example}, ["probabilities"], {"pixels": dynamic})
    else:
        graph = _trace_parts(model, decoder, example, dynamic)
        inputs = list(graph.input)
        defaults = [numpy_helper.from_array(default, name) for name, default in DEFAULTS.items()]
    shape = [name if axis in dynamic else sides[0] for axis, (name, sides) in enumerate(sides_by_name.items(), 2)]
    outputs = [value(each.name, each.type.tensor_type.elem_type, ["batch", *_dims(each)[1:]]) for each in graph.output]
    graph = helper.make_graph(
        graph.node, "dptr", [value("pixels", TensorProto.FLOAT, ["batch", 3, *shape]), *inputs[1:]], outputs,
        [*_merge_constants(graph), *defaults],
    )  # fmt: skip
    arrange_gelus(graph)
    exported = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(exported)
    return exported


def _trace_parts(
    model: Recognizer, decoder: AutoregressiveDecoder, pixels: Tensor, dynamic: dict[int, Any]
) -> onnx.GraphProto:
    """The encoder, then beam search if the input ``beam_width`` is above 0, else unconstrained decoding."""
    with torch.no_grad():
        memory = decoder.project(model.memory(pixels))
        logits, started = decoder.advance(torch.full((EXAMPLE_BATCH, 1), decoder.bos), memory, None, [])
    layers = [f"memory_{layer}" for layer in range(len(memory))]
    encode = trace(_Encoder(model, decoder), {"pixels": pixels}, layers, {"pixels": dynamic}, "encode.")
    free = build_free_loop(decoder, memory, logits, started, dynamic[0])
    search, inputs = build_search_loop(decoder, memory, logits, started, dynamic[0])
    names, branch_outputs = ("probabilities", *BEAM), search.output
    outputs = [
        value(name, output.type.tensor_type.elem_type, _dims(output))
        for name, output in zip(names, branch_outputs, strict=True)
    ]
    nodes = [
        helper.make_node("Shape", ["pixels"], ["batch"], start=0, end=1),
        helper.make_node("Greater", ["beam_width", "no_beam"], ["searches"]),
        helper.make_node(
            "If", ["searches"], names, then_branch=_strip_constants(search), else_branch=_strip_constants(free)
        ),
    ]
    constants = [numpy_helper.from_array(np.array(0), "no_beam")]
    initializers = [*encode.initializer, *free.initializer, *search.initializer, *constants]
    return helper.make_graph([*encode.node, *nodes], "dptr", [*encode.input, *inputs], outputs, initializers)


def _strip_constants(graph: onnx.GraphProto) -> onnx.GraphProto:
    """A copy of a branch without its initializers, which the outer graph holds instead."""
    return helper.make_graph(graph.node, graph.name, [], graph.output)


def _merge_constants(graph: onnx.GraphProto) -> list[TensorProto]:
    """Merge equal constants into one, and point all nodes, including those of subgraphs, to it."""
    unique: dict[tuple, TensorProto] = {}
    new_names: dict[str, str] = {}
    for tensor in graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        unique.setdefault(key, tensor)
        new_names[tensor.name] = unique[key].name
    _rename_inputs(graph, new_names)
    return list(unique.values())


def _rename_inputs(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename_inputs(attribute.g, names)


def _dims(info: onnx.ValueInfoProto) -> list[int | str]:
    return [dimension.dim_param or dimension.dim_value for dimension in info.type.tensor_type.shape.dim]
