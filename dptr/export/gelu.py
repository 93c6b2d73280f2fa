"""Arrange each GELU so that onnxruntime computes it in one pass.

torch exports ``x * Phi(x)`` as ``x * (0.5 * (erf(x / sqrt(2)) + 1))``. onnxruntime has one operator for GELU and
replaces ``(x * (erf(x / sqrt(2)) + 1)) * 0.5`` by it, but not torch's order (``GeluFusion``, onnxruntime 1.32). Both
are the same bit for bit, because multiplying by 0.5 is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx
from onnx import numpy_helper

from dptr.export.quantize import list_graphs


def arrange_gelus(graph: onnx.GraphProto) -> int:
    """Move the factor 0.5 of each GELU to its end, in subgraphs too; return how many were changed."""
    graphs = [*list_graphs(graph)]
    halves = {name for each in graphs for name in _find_halves(each)}
    return sum(_arrange(each, halves) for each in graphs)


def _find_halves(graph: onnx.GraphProto) -> Iterator[str]:
    """The names of all constants that are 0.5."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].type == onnx.AttributeProto.TENSOR:
            constants[node.output[0]] = node.attribute[0].t
    for name, tensor in constants.items():
        if not tensor.dims and numpy_helper.to_array(tensor) == 0.5:
            yield name


def _arrange(graph: onnx.GraphProto, halves: set[str]) -> int:
    makers = {output: node for node in graph.node for output in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    changed = 0
    for last in (node for node in graph.node if node.op_type == "Mul"):
        for x, factor in (last.input, last.input[::-1]):
            half = makers.get(factor)
            if half is None or half.op_type != "Mul" or uses[factor] != 1:
                continue
            constants = [name for name in half.input if name in halves]
            others = [name for name in half.input if name not in halves]
            if len(constants) == 1 and _is_erf_plus_one(makers, others[0], x):
                half.input[:], last.input[:] = [x, others[0]], [factor, constants[0]]
                changed += 1
                break
    return changed


def _is_erf_plus_one(makers: dict[str, onnx.NodeProto], name: str, x: str) -> bool:
    """Whether a value is erf of a quotient of x, plus something: as in a GELU of x."""
    node = makers.get(name)
    if node is None or node.op_type != "Add":
        return False
    erfs = [makers[each] for each in node.input if each in makers and makers[each].op_type == "Erf"]
    quotients = [makers[erf.input[0]] for erf in erfs if erf.input[0] in makers]
    return any(quotient.op_type == "Div" and quotient.input[0] == x for quotient in quotients)
