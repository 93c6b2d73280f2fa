"""The branch of a graph that reads freely: the loop that steps a decoder, and what follows it.

An ONNX ``Loop`` runs the step, with its cache, until every word of the batch has ended, as ``decode`` does. So the
graph is small whatever the longest word, and a short word costs few steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dptr.export.search_loop import beam_outputs
from dptr.export.trace import EXAMPLE_BATCH, EXAMPLE_PAST, trace, value
from dptr.models.decoders.base import AutoregressiveDecoder


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


def build_free_loop(
    decoder: AutoregressiveDecoder, memory: list[Tensor], logits: Tensor, started: list[Tensor], batch: Any
) -> onnx.GraphProto:
    """The branch that reads freely, from ``batch`` (its size) and ``memory_0``, ... of the graph around it.

    It finds no prefixes: of ``BEAM`` it returns empty tensors.

    Args:
        memory: of ``EXAMPLE_BATCH`` crops.
        logits, started: what ``AutoregressiveDecoder.advance`` says of their first position.
        batch: the size of a batch.
    """
    steps = decoder.max_length + 1
    layers = range(len(memory))
    past = torch.export.Dim("past", min=1, max=decoder.max_length)
    cache = [torch.zeros(2, EXAMPLE_BATCH, *start.shape[2:3], EXAMPLE_PAST, start.shape[4]) for start in started]
    symbol, ended = (
        torch.zeros(EXAMPLE_BATCH, 1, dtype=torch.long),
        torch.zeros(EXAMPLE_BATCH, 1, dtype=torch.bool),
    )
    names = [f"memory_{layer}" for layer in layers]
    step = trace(
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
    finish = trace(
        _Finish(decoder),
        {"logits": logits.new_zeros(EXAMPLE_BATCH, steps, logits.shape[2]), "memory": memory},
        ["free.probabilities"],
        {"logits": {0: batch}, "memory": [{1: batch} for _ in layers]},
        "finish.",
    )
    carried = {each.name: each for each in step.input if each.name not in names}
    body = helper.make_graph(
        step.node, "step",
        [value("step.index", TensorProto.INT64, []), value("step.going", TensorProto.BOOL, []), *carried.values()],
        step.output,
    )  # fmt: skip
    starts = [f"start.{name}" for name in carried]
    constants: dict[str, Any] = {
        "start.bos": [[decoder.bos]], "start.false": [[False]], "start.true": True, "start.steps": steps,
        "start.two": [2], "start.one": [1], "start.all": [steps], "start.zeros": [0, 0, 0, 0], "start.zero": [0],
        "start.axis": [2],
    }  # fmt: skip
    nodes = [
        helper.make_node("Concat", ["batch", "start.one"], ["start.column"], axis=0),
        helper.make_node("Expand", ["start.bos", "start.column"], ["start.symbol"]),
        helper.make_node("Expand", ["start.false", "start.column"], ["start.ended"]),
    ]
    for layer, each in enumerate(cache):
        constants[f"start.sizes_{layer}"] = [each.shape[2], 0, each.shape[4]]
        shape = f"start.shape_{layer}"
        nodes += [
            helper.make_node("Concat", ["start.two", "batch", f"start.sizes_{layer}"], [shape], axis=0),
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
    beam = beam_outputs(steps, 0)
    for name, (kind, sizes) in beam.items():
        constants[f"start.inner_{name}"] = np.array(sizes[1:], np.int64)
        empty = helper.make_tensor("empty", kind, [1], [0])
        nodes += [
            helper.make_node("Concat", ["batch", f"start.inner_{name}"], [f"start.outer_{name}"], axis=0),
            helper.make_node("ConstantOfShape", [f"start.outer_{name}"], [f"free.{name}"], value=empty),
        ]
    tensors = [numpy_helper.from_array(np.array(constant), name) for name, constant in constants.items()]
    initializers = [*step.initializer, *finish.initializer, *tensors]
    outputs = [*finish.output, *(value(f"free.{name}", *each) for name, each in beam.items())]
    return helper.make_graph([*nodes, *finish.node], "free", [], outputs, initializers)
