"""The encoder of PP-OCRv6 against the graph that rapidocr installs, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from dptr.models.encoders.ppocr import PPOCR
from dptr.models.encoders.ppocr_weights import find_file, load_head, read_weights
from dptr.text.charset import Charset
from dptr.utils.errors import UserError

MATRIX = (120, 18710)  # of the head: what multiplies it is what the encoder gives


@pytest.fixture(scope="module")
def published() -> Path:
    return find_file("rapidocr")


@pytest.fixture(scope="module")
def model(published: Path) -> PPOCR:
    model = PPOCR(48, 64)
    model.load_state_dict(read_weights(published)[0])
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


def test_the_head_names_what_the_published_graph_names(model: PPOCR, published: Path) -> None:
    """Among the characters of a charset: the probabilities of the whole graph, of these classes alone."""
    session = onnxruntime.InferenceSession(str(published), providers=["CPUExecutionProvider"])
    picture = Image.new("RGB", (160, 48), "white")
    ImageDraw.Draw(picture).text((8, 2), "A z", "black", ImageFont.load_default(40))
    pixels = (np.asarray(picture, np.float32) / 127.5 - 1).transpose(2, 0, 1)[None].copy()
    (every,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(pixels[:, ::-1])})
    characters = session.get_modelmeta().custom_metadata_map["character"].split("\n")
    charset = Charset("mixed", ("z", " ", "A", "\u1eaf", "中"))  # the fourth is not among theirs
    classes = [0, characters.index("z") + 1, every.shape[2] - 1, characters.index("A") + 1, characters.index("中") + 1]
    expected = every[..., classes] / every[..., classes].sum(-1, keepdims=True)
    layer = torch.nn.Linear(120, 6)
    assert load_head(layer, read_weights(published)[1], charset) == ["\u1eaf"]
    with torch.no_grad():
        logits = layer(model(torch.from_numpy(pixels)))[..., [0, 1, 2, 3, 5]]
    np.testing.assert_allclose(logits.softmax(-1).numpy(), expected, atol=2e-3)
    assert set(expected.argmax(-1).ravel()) >= {0, 1, 3}


def test_a_letter_that_the_head_lacks_begins_as_one_drawn_like_it(published: Path) -> None:
    head = read_weights(published)[1]
    charset, row = Charset("greek", ("ά", "Ё", "ж", "α")), {each: row for row, each in enumerate(head.characters, 1)}
    layer = torch.nn.Linear(120, 5)
    assert load_head(layer, head, charset) == ["ά", "Ё", "ж"]
    assert torch.equal(layer.weight[1], head.weight[row["α"]]) and torch.equal(layer.weight[2], head.weight[row["E"]])
    assert torch.allclose(layer.weight[3], head.weight[1:].mean(0)), "nothing is drawn like it"
    assert torch.equal(layer.bias[1:4], head.bias.median().expand(3)) and layer.bias[4] == head.bias[row["α"]]


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
    with pytest.raises(UserError, match=r"other\.onnx: not the network of PP-OCRv6_rec_small\.onnx"):
        read_weights(other)
