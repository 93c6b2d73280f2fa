"""GELUs of exported graphs: one operator of onnxruntime each, and the same values as before, bit for bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from dptr.export.gelu import arrange_gelus, fuse_gelus
from dptr.export.rounding import list_graphs
from dptr.export.trace import OPSET, trace

BRANCHES = ["then", "else"]


class TwoGelus(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(nn.functional.gelu(pixels) - 0.5) * 0.5


def exported() -> onnx.GraphProto:
    return trace(TwoGelus(), {"pixels": torch.zeros(2, 9)}, ["out"], {"pixels": {}})


def in_branches(graph: onnx.GraphProto) -> onnx.GraphProto:
    """The same in both branches of an ``If``, whose constants the outer graph holds."""
    branches = []
    for name in BRANCHES:
        branch = helper.make_graph(graph.node, name, [], graph.output)
        onnx.compose.add_prefix_graph(branch, f"{name}.", rename_inputs=False, rename_initializers=False, inplace=True)
        for node in branch.node:
            node.input[:] = [each.removeprefix(f"{name}.") if not _made(branch, each) else each for each in node.input]
        branches.append(branch)
    chosen = helper.make_tensor_value_info("chosen", onnx.TensorProto.BOOL, [])
    node = helper.make_node("If", ["chosen"], ["out"], then_branch=branches[0], else_branch=branches[1])
    return helper.make_graph([node], "outer", [*graph.input, chosen], graph.output, graph.initializer)


def _made(graph: onnx.GraphProto, name: str) -> bool:
    return any(name in node.output for node in graph.node)


def model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


@pytest.mark.parametrize("branches", [False, True])
def test_values_stay_and_onnxruntime_has_one_operator_for_each(branches: bool, tmp_path: Path) -> None:
    graph = in_branches(exported()) if branches else exported()
    rng = np.random.default_rng(0)
    inputs = {"pixels": np.concatenate([rng.normal(size=(1, 9)), 30 * rng.normal(size=(1, 9))]).astype(np.float32)}
    if branches:
        inputs["chosen"] = np.array(True)
    before = ReferenceEvaluator(model(graph)).run(None, inputs)[0]
    assert arrange_gelus(graph) == 2 * (1 + branches)
    assert arrange_gelus(graph) == 0
    np.testing.assert_array_equal(ReferenceEvaluator(model(graph)).run(None, inputs)[0], before)
    with torch.no_grad():
        expected = TwoGelus()(torch.from_numpy(inputs["pixels"])).numpy()
    np.testing.assert_allclose(before, expected, atol=1e-6)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session = onnxruntime.InferenceSession(model(graph).SerializeToString(), options)
    np.testing.assert_allclose(session.run(None, inputs)[0], expected, atol=1e-6)
    optimized = onnx.load(tmp_path / "optimized.onnx").graph
    operators = Counter(node.op_type for each in list_graphs(optimized) for node in each.node)
    assert operators["Gelu"] == 2 * (1 + branches) and not operators["Erf"]


def test_what_is_no_gelu_stays() -> None:
    """erf of another value, other numbers, and a half that is needed elsewhere."""
    for change in ("erf of another", "factor", "root", "one", "half used twice"):
        nodes = [
            helper.make_node("Div", ["y" if change == "erf of another" else "x", "root"], ["quotient"]),
            helper.make_node("Erf", ["quotient"], ["erf"]),
            helper.make_node("Add", ["erf", "one"], ["sum"]),
            helper.make_node("Mul", ["factor", "sum"], ["half"]),
            helper.make_node("Mul", ["x", "half"], ["out"]),
        ]
        values = {"root": 2**0.5, "one": 1.0, "factor": 0.5}
        values |= {change: 0.4} if change in values else {}
        constants = [helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [each]) for name, each in values.items()]
        infos = {name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"}
        outputs = ["out", *(["half"] if change == "half used twice" else [])]
        infos |= {name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in outputs}
        graph = helper.make_graph(nodes, change, [infos["x"], infos["y"]], [infos[name] for name in outputs], constants)
        assert arrange_gelus(graph) == 0, change


def test_a_fused_gelu_is_one_node_and_has_the_same_values() -> None:
    fused = model(exported())
    assert arrange_gelus(fused.graph) == 2
    before, opset = ReferenceEvaluator(fused), fused.opset_import[0].version
    pixels = {"pixels": np.random.default_rng(0).normal(0, 5, (2, 9)).astype(np.float32)}
    expected = before.run(None, pixels)[0]
    assert fuse_gelus(fused) == 2 and fused.opset_import[0].version == 20 > opset
    onnx.checker.check_model(fused)
    operators = Counter(node.op_type for node in fused.graph.node)
    assert operators["Gelu"] == 2 and not operators["Erf"] and not operators["Div"]
    np.testing.assert_allclose(ReferenceEvaluator(fused).run(None, pixels)[0], expected, atol=1e-6)


@pytest.mark.parametrize("change", [None, "root", "one", "factor"])
def test_only_a_gelu_is_fused(change: str | None) -> None:
    """The same nodes with another number are another function."""
    values = {"root": 2**0.5, "one": 1.0, "factor": 0.5} | ({change: 0.4} if change else {})
    nodes = [
        helper.make_node("Div", ["x", "root"], ["quotient"]),
        helper.make_node("Erf", ["quotient"], ["erf"]),
        helper.make_node("Add", ["erf", "one"], ["sum"]),
        helper.make_node("Mul", ["x", "sum"], ["product"]),
        helper.make_node("Mul", ["product", "factor"], ["out"]),
    ]
    constants = [helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [each]) for name, each in values.items()]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("x", "out")]
    graph = model(helper.make_graph(nodes, "gelu", ends[:1], ends[1:], constants))
    assert fuse_gelus(graph) == (change is None)
