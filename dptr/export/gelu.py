"""Let onnxruntime compute each GELU in one pass.

torch exports ``x * Phi(x)`` as ``x * (0.5 * (erf(x / sqrt(2)) + 1))``. onnxruntime has one operator for GELU and
replaces ``(x * (erf(x / sqrt(2)) + 1)) * 0.5`` by it, but not torch's order (``GeluFusion``, onnxruntime 1.32).
``arrange_gelus`` writes the order that it knows. Both are the same bit for bit, because multiplying by 0.5 is exact.

Between quantized convolutions it recognizes neither. There ``fuse_gelus`` writes the operator ``Gelu`` of ONNX 20.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import isclose, sqrt

import onnx
from onnx import numpy_helper

from dptr.export.rounding import list_graphs


def arrange_gelus(graph: onnx.GraphProto) -> int:
    """Move the factor 0.5 of each GELU to its end, in subgraphs too; return how many were changed."""
    graphs = [*list_graphs(graph)]
    numbers = {name: number for each in graphs for name, number in _find_numbers(each)}
    return sum(_arrange(each, numbers) for each in graphs)


def fuse_gelus(model: onnx.ModelProto) -> int:
    """Replace each GELU outside of subgraphs by one node, and raise the opset to 20; return how many there were.

    Args:
        model: changed in place; its GELUs are in the order of ``arrange_gelus``. What its nodes compute is the same in
            opset 20 as in 18.
    """
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    numbers = dict(_find_numbers(graph))
    replaced = 0
    for last in [node for node in graph.node if node.op_type == "Mul"]:
        product = next((makers.get(name) for name in last.input if numbers.get(name) != 0.5), None)
        if 0.5 not in {numbers.get(name) for name in last.input} or product is None or product.op_type != "Mul":
            continue
        for x, factor in (product.input, product.input[::-1]):
            if _is_erf_plus_one(makers, numbers, factor, x):
                last.CopyFrom(onnx.helper.make_node("Gelu", [x], last.output, name=last.name))
                replaced += 1
                break
    _remove_unused(graph)
    next(each for each in model.opset_import if not each.domain).version = 20
    return replaced


def _remove_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes whose outputs nobody takes, and then constants, except for defaults of inputs."""
    used = {output.name for output in graph.output}
    used |= {name for each in [*list_graphs(graph)][1:] for node in each.node for name in node.input}
    kept = []
    for node in reversed(graph.node):
        if used & {*node.output}:
            used.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    used |= {each.name for each in graph.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _find_numbers(graph: onnx.GraphProto) -> Iterator[tuple[str, float]]:
    """The constants of a graph that are single floats, with their names."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].type == onnx.AttributeProto.TENSOR:
            constants[node.output[0]] = node.attribute[0].t
    for name, tensor in constants.items():
        if not tensor.dims and tensor.data_type == onnx.TensorProto.FLOAT:
            yield name, float(numpy_helper.to_array(tensor))


def _arrange(graph: onnx.GraphProto, numbers: Mapping[str, float]) -> int:
    makers = {output: node for node in graph.node for output in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    changed = 0
    for last in (node for node in graph.node if node.op_type == "Mul"):
        for x, factor in (last.input, last.input[::-1]):
            half = makers.get(factor)
            if half is None or half.op_type != "Mul" or uses[factor] != 1:
                continue
            constants = [name for name in half.input if numbers.get(name) == 0.5]
            others = [name for name in half.input if numbers.get(name) != 0.5]
            if len(constants) == 1 and _is_erf_plus_one(makers, numbers, others[0], x):
                half.input[:], last.input[:] = [x, others[0]], [factor, constants[0]]
                changed += 1
                break
    return changed


def _is_erf_plus_one(makers: Mapping[str, onnx.NodeProto], numbers: Mapping[str, float], name: str, x: str) -> bool:
    """Whether a value is ``erf(x / sqrt(2)) + 1``."""
    node = makers.get(name)
    if node is None or node.op_type != "Add" or 1.0 not in {numbers.get(each) for each in node.input}:
        return False
    erfs = [makers[each] for each in node.input if each in makers and makers[each].op_type == "Erf"]
    quotients = [makers[erf.input[0]] for erf in erfs if erf.input[0] in makers]
    return any(
        quotient.op_type == "Div"
        and quotient.input[0] == x
        and isclose(numbers.get(quotient.input[1], 0.0), sqrt(2), rel_tol=1e-6)
        for quotient in quotients
    )
