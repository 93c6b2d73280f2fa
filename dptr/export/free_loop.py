"""The ONNX branch for unconstrained greedy decoding: a loop of decoder steps, then refinement.

As in ``AutoregressiveDecoder.decode``, an ONNX ``Loop`` runs one step with its key-value cache until every word of the
batch has ended. The graph therefore does not grow with the maximum word length, and short words take few steps.
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
    """One decoding step, in the order that an ONNX ``Loop`` expects.

    Returns whether any word continues, the symbols (b, 1), which words have ended (b, 1), the grown cache of each
    layer, and the logits (b, 1, classes).
    """

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
    """Build the branch for unconstrained decoding.

    The branch takes ``batch`` (the batch size) and ``memory_0``, ``memory_1``, ... from the outer graph. It returns
    the probabilities, and empty tensors for the ``BEAM`` outputs, which only the search branch fills.

    Args:
        memory: projected keys and values of ``EXAMPLE_BATCH`` crops, a tensor for each decoder layer.
        logits, started: the logits and the cache that ``AutoregressiveDecoder.advance`` returns for the first position.
        batch: the symbolic batch dimension of ``torch.export``.
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
    loop_state = {each.name: each for each in step.input if each.name not in names}
    body = helper.make_graph(
        step.node, "step",
        [value("step.index", TensorProto.INT64, []), value("step.going", TensorProto.BOOL, []), *loop_state.values()],
        step.output,
    )  # fmt: skip
    starts = [f"start.{name}" for name in loop_state]
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
    for layer, layer_cache in enumerate(cache):
        constants[f"start.sizes_{layer}"] = [layer_cache.shape[2], 0, layer_cache.shape[4]]
        shape = f"start.shape_{layer}"
        nodes += [
            helper.make_node("Concat", ["start.two", "batch", f"start.sizes_{layer}"], [shape], axis=0),
            helper.make_node("ConstantOfShape", [shape], [f"start.cache_{layer}"]),  # float zeros, the default
        ]
    nodes += [
        helper.make_node(
            "Loop",
            ["start.steps", "start.true", *starts],
            [*(f"end.{name}" for name in loop_state), "end.logits"],
            body=body,
        ),
        helper.make_node("Squeeze", ["end.logits", "start.axis"], ["end.rows"]),
        helper.make_node("Transpose", ["end.rows"], ["end.words"], perm=[1, 0, 2]),
        # Pad with zero logits to ``max_length`` + 1 rows. Padding decodes as EOS (argmax takes the first class), and
        # all rows after a word's EOS are ignored.
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
