"""A recognizer as one ONNX graph: normalized pixels in, probabilities by position out.

Decoders that read all at once are traced whole. Of decoders that read left to right three parts are traced, each once:
the encoder up to the memory's keys and values, one step, and what follows the last step. An ONNX ``Loop`` runs the
step, with its cache, until every word of the batch has ended, as ``decode`` does. So the graph is small whatever the
longest word, and a short word costs few steps.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from math import gcd
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper
from onnxscript import optimizer
from torch import Tensor, nn

from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.recognizer import Recognizer
from dptr.utils.sizes import Sizes

OPSET = 18  # of 2022: onnxruntime from 1.14 on, its web and mobile builds too
IR_VERSION = 8
EXAMPLE_SIZES = 2, 3  # batch size and past symbols of the example; torch.export proves that the graph holds for any


class _Whole(nn.Module):
    def __init__(self, model: Recognizer):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixels).float().softmax(-1)


class _Encode(nn.Module):
    def __init__(self, model: Recognizer, decoder: AutoregressiveDecoder):
        super().__init__()
        self.model, self.decoder = model, decoder

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self.decoder.project(self.model.memory(pixels))


class _Step(nn.Module):
    """Whether some word goes on, the symbols read, which words have ended; the logits last, after the cache."""

    def __init__(self, decoder: AutoregressiveDecoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, symbol: Tensor, ended: Tensor, cache: list[Tensor], memory: list[Tensor]) -> list[Tensor]:
        logits, grown = self.decoder.advance(symbol, memory, None, cache)
        symbol = logits.argmax(-1)
        ended = ended | (symbol == self.decoder.eos)
        return [~ended.all(), symbol, ended, *grown, logits]


class _Finish(nn.Module):
    def __init__(self, decoder: AutoregressiveDecoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, logits: Tensor, memory: list[Tensor]) -> Tensor:
        return self.decoder.refine(logits, memory, None).float().softmax(-1)


def to_onnx(model: Recognizer, size: Sizes) -> onnx.ModelProto:
    """Trace a recognizer in eval mode: ``pixels`` (batch, 3, height, width) -> ``probabilities`` (batch, t, classes).

    Its weights are the model's own, to the bit: batch norms are not folded, which onnxruntime does on loading the file.
    Height and width may be those of any ``size`` has. t is ``max_length`` + 1, for CTC too. Rows after a word's EOS
    mean nothing.
    """
    decoder = model.decoder
    batch = torch.export.Dim("batch", min=1)
    every = {"height": [height for height, _ in size.every], "width": [width for _, width in size.every]}
    example = torch.zeros(EXAMPLE_SIZES[0], 3, max(every["height"]), max(every["width"]))
    sizes: dict[int, Any] = {0: batch}
    for axis, (name, sides) in enumerate(every.items(), 2):
        if len(set(sides)) > 1:
            unit = gcd(*sides)
            sizes[axis] = unit * torch.export.Dim(name, min=min(sides) // unit, max=max(sides) // unit)
    if not isinstance(decoder, AutoregressiveDecoder) or not decoder.autoregressive:
        graph = _trace(_Whole(model), {"pixels": example}, ["probabilities"], {"pixels": sizes}, "")
        outputs = list(graph.output)
    else:
        graph, outputs = _trace_loop(model, decoder, example, sizes)
    shape = [name if axis in sizes else sides[0] for axis, (name, sides) in enumerate(every.items(), 2)]
    graph = helper.make_graph(
        graph.node, "dptr", [_value("pixels", TensorProto.FLOAT, ["batch", 3, *shape])],
        [_value("probabilities", TensorProto.FLOAT, ["batch", *_dims(outputs[0])[1:]])], _merge_constants(graph),
    )  # fmt: skip
    exported = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(exported)
    return exported


def _trace_loop(
    model: Recognizer, decoder: AutoregressiveDecoder, pixels: Tensor, sizes: dict[int, Any]
) -> tuple[onnx.GraphProto, list[onnx.ValueInfoProto]]:
    steps, batch = decoder.max_length + 1, sizes[0]
    with torch.no_grad():
        memory = decoder.project(model.memory(pixels))
        logits, started = decoder.advance(torch.full((EXAMPLE_SIZES[0], 1), decoder.bos), memory, None, [])
    layers = range(len(memory))
    past = torch.export.Dim("past", min=1, max=decoder.max_length)
    cache = [torch.zeros(2, EXAMPLE_SIZES[0], *start.shape[2:3], EXAMPLE_SIZES[1], start.shape[4]) for start in started]
    symbol, ended = (
        torch.zeros(EXAMPLE_SIZES[0], 1, dtype=torch.long),
        torch.zeros(EXAMPLE_SIZES[0], 1, dtype=torch.bool),
    )
    names = [f"memory_{layer}" for layer in layers]

    encode = _trace(_Encode(model, decoder), {"pixels": pixels}, names, {"pixels": sizes}, "encode.")
    step = _trace(
        _Step(decoder),
        {"symbol": symbol, "ended": ended, "cache": cache, "memory": memory},
        ["goes_on", "symbol_read", "ended_now", *(f"grown_{layer}" for layer in layers), "logits_read"],
        {
            "symbol": {0: batch},
            "ended": {0: batch},
            "cache": [{1: batch, 3: past} for _ in layers],
            "memory": [{1: batch} for _ in layers],
        },
        "step.",
    )
    finish = _trace(
        _Finish(decoder),
        {"logits": logits.new_zeros(EXAMPLE_SIZES[0], steps, logits.shape[2]), "memory": memory},
        ["probabilities"],
        {"logits": {0: batch}, "memory": [{1: batch} for _ in layers]},
        "finish.",
    )
    carried = {value.name: value for value in step.input if value.name not in names}
    body = helper.make_graph(
        step.node, "step",
        [_value("step.index", TensorProto.INT64, []), _value("step.going", TensorProto.BOOL, []), *carried.values()],
        step.output,
    )  # fmt: skip
    starts = [f"start.{name}" for name in carried]
    constants: dict[str, Any] = {
        "start.bos": [[decoder.bos]], "start.false": [[False]], "start.true": True, "start.steps": steps,
        "start.two": [2], "start.one": [1], "start.all": [steps], "start.zeros": [0, 0, 0, 0], "start.zero": [0],
        "start.axis": [2],
    }  # fmt: skip
    nodes = [
        helper.make_node("Shape", ["pixels"], ["start.batch"], start=0, end=1),
        helper.make_node("Concat", ["start.batch", "start.one"], ["start.column"], axis=0),
        helper.make_node("Expand", ["start.bos", "start.column"], ["start.symbol"]),
        helper.make_node("Expand", ["start.false", "start.column"], ["start.ended"]),
    ]
    for layer, each in enumerate(cache):
        constants[f"start.sizes_{layer}"] = [each.shape[2], 0, each.shape[4]]
        shape = f"start.shape_{layer}"
        nodes += [
            helper.make_node("Concat", ["start.two", "start.batch", f"start.sizes_{layer}"], [shape], axis=0),
            helper.make_node("ConstantOfShape", [shape], [f"start.cache_{layer}"]),  # of float zeros
        ]
    nodes += [
        helper.make_node(
            "Loop",
            ["start.steps", "start.true", *starts],
            [*(f"end.{name}" for name in carried), "end.logits"],
            body=body,
        ),
        helper.make_node("Squeeze", ["end.logits", "start.axis"], ["end.rows"]),
        helper.make_node("Transpose", ["end.rows"], ["end.words"], perm=[1, 0, 2]),
        # Zeros up to ``max_length`` + 1 rows: EOS, as argmax takes the first, and hidden like all after a word's end.
        helper.make_node("Shape", ["end.words"], ["end.count"], start=1, end=2),
        helper.make_node("Sub", ["start.all", "end.count"], ["end.missing"]),
        helper.make_node("Concat", ["start.zeros", "end.missing", "start.zero"], ["end.pads"], axis=0),
        helper.make_node("Pad", ["end.words", "end.pads"], ["logits"]),
    ]
    tensors = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    initializers = [*encode.initializer, *step.initializer, *finish.initializer, *tensors]
    whole = helper.make_graph([*encode.node, *nodes, *finish.node], "dptr", [], [], initializers)
    return whole, list(finish.output)


def _trace(
    module: nn.Module, inputs: dict[str, Any], outputs: Sequence[str], dynamic: dict[str, Any], prefix: str
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


def _value(name: str, kind: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _dims(value: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
