"""A recognizer as one ONNX graph: normalized pixels in, probabilities by position out.

Decoders that read all at once are traced whole; of CTC the path is an output too. Of decoders that read left to right
parts are traced, each once: the encoder up to the memory's keys and values; then, in the two branches of an ``If``,
what reads freely (``dptr.export.free_loop``) and what searches for the words of a language
(``dptr.export.search_loop``).
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
from dptr.export.search_loop import DEFAULTS, build_search_loop
from dptr.export.trace import EXAMPLE_BATCH, OPSET, trace, value
from dptr.inference.onnx_backend import BEAM
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.ctc import CTC, collapse
from dptr.models.recognizer import Recognizer
from dptr.utils.sizes import Sizes

IR_VERSION = 8


class _Whole(nn.Module):
    def __init__(self, model: Recognizer):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixels).float().softmax(-1)


class _Paths(nn.Module):
    """What is read, and the path that it is read from."""

    def __init__(self, model: Recognizer, decoder: CTC):
        super().__init__()
        self.model, self.decoder = model, decoder

    def forward(self, pixels: Tensor) -> list[Tensor]:
        path = self.decoder.predict(self.model.memory(pixels), None)
        read = collapse(path, self.decoder.max_length + 1)
        return [each.float().softmax(-1) for each in (read, path)]


class _Encode(nn.Module):
    def __init__(self, model: Recognizer, decoder: AutoregressiveDecoder):
        super().__init__()
        self.model, self.decoder = model, decoder

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self.decoder.project(self.model.memory(pixels))


def to_onnx(model: Recognizer, size: Sizes) -> onnx.ModelProto:
    """Trace a recognizer in eval mode: ``pixels`` (batch, 3, height, width) -> ``probabilities`` (batch, t, classes).

    Its weights are the model's own, to the bit: batch norms are not folded, which onnxruntime does on loading the file.
    Height and width may be those of any ``size`` has. t is ``max_length`` + 1, for CTC too. Rows after a word's EOS
    mean nothing. ``dptr.inference.onnx_backend`` names the further inputs, which have defaults, and outputs.
    """
    decoder = model.decoder
    batch = torch.export.Dim("batch", min=1)
    every = {"height": [height for height, _ in size.every], "width": [width for _, width in size.every]}
    example = torch.zeros(EXAMPLE_BATCH, 3, max(every["height"]), max(every["width"]))
    sizes: dict[int, Any] = {0: batch}
    for axis, (name, sides) in enumerate(every.items(), 2):
        if len(set(sides)) > 1:
            unit = gcd(*sides)
            sizes[axis] = unit * torch.export.Dim(name, min=min(sides) // unit, max=max(sides) // unit)
    inputs: list[onnx.ValueInfoProto] = []
    defaults: list[TensorProto] = []
    if isinstance(decoder, CTC):
        graph = trace(_Paths(model, decoder), {"pixels": example}, ["probabilities", "paths"], {"pixels": sizes})
    elif not isinstance(decoder, AutoregressiveDecoder) or not decoder.autoregressive:
        graph = trace(_Whole(model), {"pixels": example}, ["probabilities"], {"pixels": sizes})
    else:
        graph = _trace_parts(model, decoder, example, sizes)
        inputs = list(graph.input)
        defaults = [numpy_helper.from_array(default, name) for name, default in DEFAULTS.items()]
    shape = [name if axis in sizes else sides[0] for axis, (name, sides) in enumerate(every.items(), 2)]
    outputs = [value(each.name, each.type.tensor_type.elem_type, ["batch", *_dims(each)[1:]]) for each in graph.output]
    graph = helper.make_graph(
        graph.node, "dptr", [value("pixels", TensorProto.FLOAT, ["batch", 3, *shape]), *inputs[1:]], outputs,
        [*_merge_constants(graph), *defaults],
    )  # fmt: skip
    exported = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(exported)
    return exported


def _trace_parts(
    model: Recognizer, decoder: AutoregressiveDecoder, pixels: Tensor, sizes: dict[int, Any]
) -> onnx.GraphProto:
    """Encode, then search if the input ``beam_width`` is above 0, else read freely."""
    with torch.no_grad():
        memory = decoder.project(model.memory(pixels))
        logits, started = decoder.advance(torch.full((EXAMPLE_BATCH, 1), decoder.bos), memory, None, [])
    layers = [f"memory_{layer}" for layer in range(len(memory))]
    encode = trace(_Encode(model, decoder), {"pixels": pixels}, layers, {"pixels": sizes}, "encode.")
    free = build_free_loop(decoder, memory, logits, started, sizes[0])
    search, inputs = build_search_loop(decoder, memory, logits, started, sizes[0])
    names, shown = ("probabilities", *BEAM), search.output
    outputs = [
        value(name, each.type.tensor_type.elem_type, _dims(each)) for name, each in zip(names, shown, strict=True)
    ]
    nodes = [
        helper.make_node("Shape", ["pixels"], ["batch"], start=0, end=1),
        helper.make_node("Greater", ["beam_width", "no_beam"], ["searches"]),
        helper.make_node("If", ["searches"], names, then_branch=_bare(search), else_branch=_bare(free)),
    ]
    constants = [numpy_helper.from_array(np.array(0), "no_beam")]
    initializers = [*encode.initializer, *free.initializer, *search.initializer, *constants]
    return helper.make_graph([*encode.node, *nodes], "dptr", [*encode.input, *inputs], outputs, initializers)


def _bare(graph: onnx.GraphProto) -> onnx.GraphProto:
    """A branch whose constants are those of the graph around it."""
    return helper.make_graph(graph.node, graph.name, [], graph.output)


def _merge_constants(graph: onnx.GraphProto) -> list[TensorProto]:
    """Keep one of the constants of equal content, and make all nodes, also in subgraphs, use it."""
    unique: dict[tuple, TensorProto] = {}
    new_names: dict[str, str] = {}
    for tensor in graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        unique.setdefault(key, tensor)
        new_names[tensor.name] = unique[key].name
    _rename(graph, new_names)
    return list(unique.values())


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename(attribute.g, names)


def _dims(each: onnx.ValueInfoProto) -> list[int | str]:
    return [dimension.dim_param or dimension.dim_value for dimension in each.type.tensor_type.shape.dim]
