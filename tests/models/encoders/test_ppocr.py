"""The encoder of PP-OCRv6 against the graph that rapidocr installs, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dptr.models.encoders.ppocr import PPOCR
from dptr.models.encoders.ppocr_weights import find_file, read_weights
from dptr.utils.errors import UserError

MATRIX = (120, 18710)  # of the head: what multiplies it is what the encoder gives


@pytest.fixture(scope="module")
def published() -> Path:
    return find_file("rapidocr")


@pytest.fixture(scope="module")
def model(published: Path) -> PPOCR:
    model = PPOCR(48, 64)
    model.load_state_dict(read_weights(published))
    return model.eval()


@pytest.fixture(scope="module")
def session(published: Path) -> onnxruntime.InferenceSession:
    """The published graph, which gives what its head reads."""
    graph = onnx.load(str(published))
    matrices = {tensor.name for tensor in graph.graph.initializer if tuple(tensor.dims) == MATRIX}
    for node in graph.graph.node:
        if node.op_type in ("Constant", "Identity"):
            held = (
                tuple(node.attribute[0].t.dims) == MATRIX if node.op_type == "Constant" else node.input[0] in matrices
            )
            matrices |= {node.output[0]} if held else set()
    (head,) = (node for node in graph.graph.node if node.op_type == "MatMul" and matrices & set(node.input))
    (tokens,) = (name for name in head.input if name not in matrices)
    del graph.graph.output[:]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(tokens, onnx.TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("width", [64, 72, 160, 960])
def test_equals_the_published_graph(model: PPOCR, session: onnxruntime.InferenceSession, width: int) -> None:
    pixels = np.random.default_rng(width).uniform(-1, 1, (2, 3, 48, width)).astype(np.float32)
    blue_first = np.ascontiguousarray(pixels[:, ::-1])
    (expected,) = session.run(None, {session.get_inputs()[0].name: blue_first})
    with torch.no_grad():
        tokens, grid = model.with_grid(torch.from_numpy(pixels))
    assert grid == (1, width // 8)
    np.testing.assert_allclose(tokens.numpy(), expected, atol=2e-4 * np.abs(expected).max())


def test_sides_that_strides_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="image 48x60 is not a multiple of 16x8 pixels"):
        PPOCR(48, 60)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*missing\.onnx; pass PP-OCRv6_rec_small\.onnx"):
        find_file(str(tmp_path / "missing.onnx"))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="not an ONNX file that can be read"):
        read_weights(broken)
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [])
    other = tmp_path / "other.onnx"
    onnx.save(onnx.helper.make_model(graph), str(other))
    with pytest.raises(UserError, match=r"0 layers where \d+ are"):
        read_weights(other)
