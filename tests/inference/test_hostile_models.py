"""Damaged and hostile models: one line each, at opening or at the first reading."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dptr.export.parity import compare
from dptr.inference.backend import open_backend
from dptr.inference.onnx_backend import METADATA, OnnxModel, seal
from dptr.inference.torch_backend import TorchModel
from dptr.models.checkpoint import load_recognizer
from dptr.utils.errors import UserError
from dptr.weights import model_file

onnx = pytest.importorskip("onnx")
TINY = model_file("dptr-en-tiny", "model.onnx").read_bytes()
CROPS = np.zeros((2, 32, 128, 3), np.uint8)


def refused(path: Path, *parts: str, action: Callable[[Path], Any] = OnnxModel) -> None:
    with pytest.raises(UserError) as error:
        action(path)
    text = str(error.value)
    assert "\n" not in text and len(text) < 500
    for part in (str(path), *parts):
        assert part in text, text


def test_a_changed_bit_anywhere_is_seen_at_opening(tmp_path: Path) -> None:
    whole = seal(TINY)
    path = tmp_path / "model.onnx"
    path.write_bytes(whole)
    assert OnnxModel(path).probabilities(CROPS).shape[0] == 2
    for place in np.random.default_rng(0).integers(0, len(TINY), 20).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        refused(path, "differs from its digest")
    path.write_bytes(whole[:-70])  # cut off within the digest
    refused(path)


def test_the_digest_is_an_entry_of_the_metadata() -> None:
    held = {entry.key: entry.value for entry in onnx.load_from_string(seal(TINY)).metadata_props}
    assert len(held.pop("dptr-digest")) == 64 and METADATA in held


def changed(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A shipped model with other metadata, without a digest, as a stranger may write it."""
    graph = onnx.load_from_string(TINY)
    (entry,) = (each for each in graph.metadata_props if each.key == METADATA)
    held = json.loads(entry.value)
    entry.value = change(held) or json.dumps(held)
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held.update(height=10**9),
        lambda held: held.update(sizes=[[64, 10**7]]),
        lambda held: held.update(max_length=-1),
        lambda held: held.update(max_length=10**12),
        lambda held: held.update(temperature=float("nan")),
        lambda held: json.dumps({**held, "temperature": 0.5}).replace('"temperature": 0.5', '"temperature": 1e999'),
        lambda held: held.update(card=[1]),
        lambda held: held.update(digest="sha256"),
        lambda held: held["charset"].update(characters="\x1b[2J"),
        lambda held: '{"format": 1, "card": ' + "[" * 1000 + "]" * 1000 + "}",
        lambda held: '{"format": 1, "card": ' + "9" * 5000 + "}",
        lambda held: "not JSON",
        lambda held: "[]",
    ],
)
def test_metadata_that_cannot_be_is_one_line(change: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    refused(changed(tmp_path / "model.onnx", change), "its metadata is damaged")


def test_metadata_that_is_no_utf_8_is_one_line(tmp_path: Path) -> None:
    damaged = bytearray(TINY)
    damaged[TINY.index(b'{"format"') + 30] = 0xFF
    (tmp_path / "model.onnx").write_bytes(damaged)
    refused(tmp_path / "model.onnx", "its metadata is damaged")


def graph_of(path: Path, values: Any, name: str = "probabilities", shape: list[int] | None = None) -> Path:
    """A graph with the metadata of a shipped model that answers with a constant, or with zeros of a shape."""
    helper = onnx.helper
    tensor = np.array(values, np.float32) if shape is None else np.array(shape, np.int64)
    node = helper.make_node("Identity" if shape is None else "ConstantOfShape", ["constant"], [name])
    pixels = helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["n", 3, 32, "w"])
    output = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [pixels], [output], [onnx.numpy_helper.from_array(tensor, "constant")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    made.metadata_props.extend(onnx.load_from_string(TINY).metadata_props)
    path.write_bytes(made.SerializeToString())
    return path


def test_graphs_that_answer_with_something_else_are_one_line(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        OnnxModel(path).probabilities(CROPS)

    good = np.full((2, 3, 95), 1 / 95)
    OnnxModel(graph_of(tmp_path / "good.onnx", good)).probabilities(CROPS)
    refused(graph_of(tmp_path / "other.onnx", good, "logits"), "export it again", action=read)
    for name, values in (("shape", good[:, :, :7]), ("count", good[:1]), ("flat", good[0]), ("none", good[:, :0])):
        refused(graph_of(tmp_path / f"{name}.onnx", values), "of shape", action=read)
    good[1, 2, 3] = np.nan
    refused(graph_of(tmp_path / "nan.onnx", good), "not finite", action=read)
    refused(graph_of(tmp_path / "huge.onnx", good, shape=[1, 10**8, 10**9]), action=read)


def test_an_export_of_other_weights_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "card.json", "model.safetensors", "model.onnx"):
        shutil.copy(model_file("dptr-en-tiny", name), folder)
    assert open_backend(folder).probabilities(CROPS).shape[0] == 2
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    save_file({**tensors, name: tensors[name] + 1}, folder / "model.safetensors")
    refused(folder, "exported from other weights", action=open_backend)


def test_a_probability_that_is_no_number_is_no_parity() -> None:
    class Odd(OnnxModel):
        def probabilities(self, crops: np.ndarray) -> np.ndarray:
            rows = super().probabilities(crops).copy()
            rows[..., -1] = np.nan
            return rows

    path = model_file("dptr-en-tiny", "model.onnx")
    assert compare(OnnxModel(path), OnnxModel(path), list(CROPS)).holds()
    assert not compare(OnnxModel(path), Odd(path), list(CROPS)).holds()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config.json", "card.json", "model.safetensors"):
        shutil.copy(model_file("dptr-en-tiny", name), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda tensor: tensor * float("nan"), "not finite"),
        (lambda tensor: tensor.float() + float("inf"), "not finite"),
        (lambda tensor: tensor.to(torch.complex64), "complex64"),
        (lambda tensor: tensor > 0, "bool"),
        (lambda tensor: tensor.to(torch.int32), "int32"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(change: Callable[..., Any], part: str, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    save_file({**tensors, name: change(tensors[name]).contiguous()}, folder / "model.safetensors")
    refused(folder, name, part, action=load_recognizer)


@pytest.mark.parametrize(
    ("section", "setting"),
    [
        ("decoder", {"dim": 10_000_000}),
        ("decoder", {"dim": 16_384}),
        ("decoder", {"depth": 200}),
        ("decoder", {"refinements": 10**9}),
        ("fmu", {"queries": 8192}),
        ("fmu", {"layers": 200}),
        ("encoder", {"height": 10**6}),
    ],
)
def test_settings_that_ask_for_more_than_the_file_holds(section: str, setting: dict[str, int], folder: Path) -> None:
    described = json.loads((folder / "config.json").read_text())
    described["model"].setdefault(section, {}).update(setting)
    (folder / "config.json").write_text(json.dumps(described))
    refused(folder, "damaged", action=load_recognizer)


@pytest.mark.parametrize("name", ["config.json", "card.json"])
@pytest.mark.parametrize("text", ['{"a":' * 1000 + "1" + "}" * 1000, '{"kind": NaN}', '{"a": ' + "9" * 5000 + "}"])
def test_json_that_is_too_much_is_one_line(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=f"{name}: not valid JSON"):
        load_recognizer(folder)


def test_a_forked_process_says_so_where_torch_would_hang(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TorchModel(folder)
    model._process += 1  # as a child sees it
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert model.probabilities(CROPS).shape[0] == 2
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(UserError, match="open it in this process"):
        model.probabilities(CROPS)
