"""The ONNX branch for beam search over the words of a pattern or lexicon, as in ``dptr.models.decoders.search``.

An ONNX ``Loop`` runs ``advance_beam`` until the likeliest prefix of every word of the batch has ended.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dptr.export.trace import EXAMPLE_BATCH, EXAMPLE_PAST, trace, value
from dptr.inference.onnx_backend import BEAM, GUIDE
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.search import NEVER, Beam, Guide, advance_beam, goes_on

DEFAULTS: dict[str, np.ndarray] = {
    "next": np.zeros((1, 1), np.int32),
    "missing": np.zeros(1, np.int64),
    "keep": np.zeros(1, np.float32),
    "gain": np.zeros(1, np.float32),
    "other": np.zeros(1, np.int64),
    "temperature": np.array(1, np.float32),
    "beam_width": np.array(0, np.int64),
}
"""Default values of the graph's optional inputs; a beam width of 0 selects unconstrained decoding."""

_AXES = {
    "next": ["states", "classes"],
    "missing": ["states"],
    "keep": ["classes"],
    "gain": ["classes"],
    "other": ["classes"],
}
_EXAMPLE_WIDTH, _EXAMPLE_STATES = 4, 5


class _Step(nn.Module):
    """One step of beam search.

    Returns whether any word continues, the symbols (b, beam width), the fields of ``Beam``, and the grown cache of
    each layer.
    """

    def __init__(self, decoder: AutoregressiveDecoder):
        super().__init__()
        self.decoder = decoder

    def forward(
        self, symbol: Tensor, beam: list[Tensor], cache: list[Tensor], wide: list[Tensor], next: Tensor,
        missing: Tensor, keep: Tensor, gain: Tensor, other: Tensor, temperature: Tensor,
    ) -> list[Tensor]:  # fmt: skip
        guide = Guide(next, missing, keep, gain, other, temperature)
        advanced, symbol, grown = advance_beam(self.decoder, symbol, Beam(*beam), guide, cache, wide)
        return [goes_on(advanced, guide), symbol, *vars(advanced).values(), *grown]


def beam_outputs(positions: int, width: str | int) -> dict[str, tuple[int, list[str | int]]]:
    """The ONNX type and the shape of each output in ``BEAM``, for ``positions`` symbols and a beam of ``width``."""
    return {
        "symbols": (TensorProto.INT64, ["batch", width, positions]),
        "chances": (TensorProto.FLOAT, ["batch", width, positions]),
        "scores": (TensorProto.FLOAT, ["batch", width]),
        "ended": (TensorProto.BOOL, ["batch", width]),
        "left": (TensorProto.FLOAT, ["batch"]),
        "cut": (TensorProto.FLOAT, ["batch"]),
    }


def build_search_loop(
    decoder: AutoregressiveDecoder, memory: list[Tensor], logits: Tensor, started: list[Tensor], batch: Any
) -> tuple[onnx.GraphProto, list[onnx.ValueInfoProto]]:
    """Build the branch for beam search.

    Args:
        memory, logits, started, batch: as for ``dptr.export.free_loop.build_free_loop``.

    Returns:
        The branch, and the inputs (``DEFAULTS``) that the outer graph must have for it. The branch also takes ``batch``
        and ``memory_0``, ``memory_1``, ... from the outer graph.
    """
    positions, classes, layers = decoder.max_length + 1, logits.shape[2], range(len(memory))
    step = _trace_step(decoder, memory, classes, started, batch)
    outer = {*GUIDE, *(f"wide_{layer}" for layer in layers)}
    loop_state = [each for each in step.input if each.name not in outer]
    body = helper.make_graph(
        step.node, "search",
        [value("search.index", TensorProto.INT64, []), value("search.going", TensorProto.BOOL, []), *loop_state],
        step.output,
    )  # fmt: skip
    constants: dict[str, Any] = {
        "search.one": [1], "search.two": [2], "search.positions": [positions], "search.steps": positions,
        "search.true": True, "search.bos": decoder.bos, "search.zero": 0, "search.scalar": 1,
        "search.certain": np.float32(1), "search.none": np.float32(0), "search.never": np.float32(NEVER), 
        "search.free": [positions, classes],
        "search.last": -1, "search.outer": [1, 1], "search.inner": [1, 1, 1], "search.axis": [2],
    }  # fmt: skip
    make = helper.make_node
    nodes = [
        make("Reshape", ["beam_width", "search.one"], ["search.width"]),
        make("Concat", ["batch", "search.width"], ["search.pair"], axis=0),
        make("Concat", ["search.pair", "search.positions"], ["search.triple"], axis=0),
        make("Range", ["search.zero", "beam_width", "search.scalar"], ["search.ranks"]),
        make("Equal", ["search.ranks", "search.zero"], ["search.is_first"]),
        make("Where", ["search.is_first", "search.none", "search.never"], ["search.row"]),
        make("Expand", ["search.bos", "search.pair"], ["search.symbol"]),
        make("Expand", ["search.zero", "search.triple"], ["search.beam_0"]),
        make("Expand", ["search.certain", "search.triple"], ["search.beam_1"]),
        make("Expand", ["search.row", "search.pair"], ["search.beam_2"]),
        make("Expand", ["search.zero", "search.pair"], ["search.beam_3"]),
        make("Expand", ["search.none", "batch"], ["search.beam_4"]),
        make("Expand", ["search.never", "batch"], ["search.beam_5"]),
    ]
    for layer, layer_cache in enumerate(started):
        constants[f"search.sizes_{layer}"] = [layer_cache.shape[2], 0, layer_cache.shape[4]]
        shape, wide = f"search.shape_{layer}", f"search.wanted_{layer}"
        nodes += [
            make("Concat", ["search.two", "search.pair", f"search.sizes_{layer}"], [shape], axis=0),
            make("ConstantOfShape", [shape], [f"search.cache_{layer}"]),  # float zeros, the default
            make("Unsqueeze", [f"memory_{layer}", "search.axis"], [f"search.narrow_{layer}"]),
            make("Concat", ["search.outer", "search.width", "search.inner"], [wide], axis=0),
            make("Expand", [f"search.narrow_{layer}", wide], [f"wide_{layer}"]),
        ]
    ends = [f"found.{each.name}" for each in loop_state]
    nodes += [
        make("Loop", ["search.steps", "search.true", *(f"search.{each.name}" for each in loop_state)], ends, body=body),
        make("Shape", ["next"], ["search.states"], start=0, end=1),
        make("Add", ["search.states", "search.last"], ["search.end"]),
        make("Equal", ["found.beam_3", "search.end"], ["found.ended"]),
        make("Concat", ["batch", "search.free"], ["search.unread"], axis=0),
        make("ConstantOfShape", ["search.unread"], ["found.probabilities"]),
    ]
    names = ["found.beam_0", "found.beam_1", "found.beam_2", "found.ended", "found.beam_4", "found.beam_5"]
    kinds = beam_outputs(positions, "beam")
    tensors = [numpy_helper.from_array(np.array(constant), name) for name, constant in constants.items()]
    branch = helper.make_graph(
        nodes, "search", [],
        [
            value("found.probabilities", TensorProto.FLOAT, ["batch", positions, classes]),
            *(value(name, *kinds[output]) for name, output in zip(names, BEAM, strict=True)),
        ],
        [*step.initializer, *tensors],
    )  # fmt: skip
    inputs = [
        value(name, helper.np_dtype_to_tensor_dtype(default.dtype), _AXES.get(name, []))
        for name, default in DEFAULTS.items()
    ]
    return branch, inputs


def _trace_step(
    decoder: AutoregressiveDecoder, memory: list[Tensor], classes: int, started: list[Tensor], batch: Any
) -> onnx.GraphProto:
    positions, layers = decoder.max_length + 1, range(len(memory))
    width, states = torch.export.Dim("beam", min=1), torch.export.Dim("states", min=2)
    past = torch.export.Dim("past", min=1, max=decoder.max_length)
    pair = EXAMPLE_BATCH, _EXAMPLE_WIDTH
    beam = [
        torch.zeros(*pair, positions, dtype=torch.long), torch.ones(*pair, positions), torch.zeros(pair),
        torch.zeros(pair, dtype=torch.long), torch.zeros(EXAMPLE_BATCH), torch.zeros(EXAMPLE_BATCH),
    ]  # fmt: skip
    batch_and_width = {0: batch, 1: width}
    return trace(
        _Step(decoder),
        {
            "symbol": torch.zeros(pair, dtype=torch.long),
            "beam": beam,
            "cache": [torch.zeros(2, *pair, each.shape[2], EXAMPLE_PAST, each.shape[4]) for each in started],
            "wide": [each[:, :, None].repeat(1, 1, _EXAMPLE_WIDTH, 1, 1, 1) for each in memory],
            "next": torch.zeros(_EXAMPLE_STATES, classes, dtype=torch.int32),
            "missing": torch.zeros(_EXAMPLE_STATES, dtype=torch.long),
            "keep": torch.ones(classes),
            "gain": torch.zeros(classes),
            "other": torch.arange(classes),
            "temperature": torch.tensor(1.0),
        },
        [
            "goes_on", "symbol_read", *(f"beam_now_{part}" for part in range(len(beam))),
            *(f"grown_{layer}" for layer in layers),
        ],
        {
            "symbol": batch_and_width,
            "beam": [batch_and_width, batch_and_width, batch_and_width, batch_and_width, {0: batch}, {0: batch}],
            "cache": [{1: batch, 2: width, 4: past} for _ in layers],
            "wide": [{1: batch, 2: width} for _ in layers],
            "next": {0: states},
            "missing": {0: states},
            "keep": None, "gain": None, "other": None, "temperature": None,
        },
        "advance.",
    )  # fmt: skip
