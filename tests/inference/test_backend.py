"""Which model a name means, and on which device it is opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw, ImageFont

from dptr.inference import backend, providers
from dptr.inference.backend import digest_model, open_backend
from dptr.inference.locate import check_model
from dptr.inference.onnx_backend import OnnxModel
from dptr.inference.providers import MANY_THREADS, PROVIDERS, device_kind, has_provider, open_session
from dptr.inference.torch_backend import TorchModel
from dptr.utils.errors import UserError
from dptr.weights import model_file

ONNX = model_file("dptr-en-tiny", "model.onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The weights of a shipped model without its export: what torch reads."""
    for name in ("config.json", "card.json", "model.safetensors"):
        (tmp_path / "plain").mkdir(exist_ok=True)
        (tmp_path / "plain" / name).symlink_to(model_file("dptr-en-tiny", name))
    return tmp_path / "plain"


def refused(model: str | Path, *parts: str) -> None:
    with pytest.raises(UserError) as error:
        check_model(model)
    assert "\n" not in str(error.value)
    for part in (f"model '{model}'", *parts):
        assert part in str(error.value), error.value


@pytest.mark.parametrize(
    ("name", "first"), [("dptr-en-tyni", "dptr-en-tiny"), ("DPTR-EN", "dptr-en"), ("dptr-eng", "dptr-en")]
)
def test_of_an_unknown_name_the_nearest_is_named_first(name: str, first: str) -> None:
    refused(name, "no such model", f"there are {first}, ")
    with pytest.raises(UserError) as error:
        check_model(name)
    assert "glyph-en" not in str(error.value), "a dual encoder does not read"


def test_what_is_no_recognizer_is_named(tmp_path: Path) -> None:
    refused("runs/none", "no such file or folder", "check the path")
    refused("none.onnx", "no such file or folder")
    refused("glyph-en", "a glyph checkpoint, not a recognizer", "dptr-en-tiny")
    refused(tmp_path, "a folder without config.json", "'dptr finetune'")
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text(json.dumps({"kind": "decoder"}))
    refused(tmp_path / "run", "a folder without config.json", f"such as {tmp_path / 'run' / 'model'}")
    refused(tmp_path / "run" / "model", "a stage 1 decoder", "dptr finetune --set init.decoder=")
    (tmp_path / "weights.pt").touch()
    refused(tmp_path / "weights.pt", "a file of another kind", ".onnx")


def test_a_wrong_name_is_not_blamed_on_a_missing_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from dptr import Reader, UserError\n"
        "for name in ('dptr-em', 'glyph-en', sys.argv[1], 'a/b'):\n"
        "    try: Reader(name)\n"
        "    except UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and "torch" not in done.stdout


def test_names_of_devices() -> None:
    known = {"cpu": "cpu", "cuda": "cuda", "cuda:0": "cuda", "cuda:12": "cuda", "openvino": "openvino"}
    assert {device: device_kind(device) for device in known} == known
    for device in ("", "cuda:", "cuda:x", "cpu:0", "openvino:1", "mps", "CPU", "auto"):
        assert device_kind(device) is None


def test_each_device_has_its_backend(folder: Path) -> None:
    assert isinstance(open_backend("dptr-en-tiny"), OnnxModel)
    assert isinstance(open_backend(ONNX), OnnxModel)
    assert isinstance(open_backend(folder), TorchModel)
    assert isinstance(open_backend("dptr-en-tiny", "meta"), TorchModel)  # any that only torch knows
    with pytest.raises(UserError, match=r"device 'openvino': .*dptr export --model"):
        open_backend(folder, "openvino")
    with pytest.raises(UserError, match=r"device 'abacus': this onnxruntime computes on cpu"):
        open_backend(ONNX, "abacus")


@pytest.mark.parametrize("device", ["cuda", "openvino"])
def test_a_device_that_is_not_installed_is_named_with_its_package(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UserError, match=rf"device '{device}': this onnxruntime computes on cpu; .*onnxruntime-"):
        open_session(ONNX, device)


def test_a_device_that_does_not_start_is_no_silent_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnxruntime-gpu without CUDA's libraries: the provider is there, and its sessions compute on the CPU."""

    class Fallen(onnxruntime.InferenceSession):
        def __init__(self, path: str, options: onnxruntime.SessionOptions, wanted: list, **rest: object) -> None:
            super().__init__(path, options, ["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "InferenceSession", Fallen)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda **_: print("Failed to load libcublas: none"), False)
    with pytest.raises(UserError, match=r"CUDAExecutionProvider does not start \(Failed to load libcublas: none\)"):
        open_session(ONNX, "cuda")
    assert open_backend("dptr-en-tiny", "auto").device == "cpu"


def test_auto_is_cuda_where_it_reads_else_the_cpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    works = True

    class Planted(OnnxModel):
        def __init__(self, path: Path, device: str = "cpu") -> None:
            super().__init__(path)
            self.device = device

        def probabilities(self, crops: np.ndarray) -> np.ndarray:
            if self.device == "cuda" and not works:
                raise RuntimeError("no kernel image is available for execution on the device")
            return super().probabilities(crops)

    monkeypatch.setattr(backend, "has_provider", lambda kind: True)
    monkeypatch.setattr(backend, "OnnxModel", Planted)
    assert open_backend("dptr-en-tiny", "auto").device == "cuda"
    works = False
    assert open_backend("dptr-en-tiny", "auto").device == "cpu"
    monkeypatch.setattr(backend, "has_provider", lambda kind: kind == "cpu")
    assert open_backend("dptr-en-tiny", "auto").device == "cpu"
    with pytest.raises(UserError, match="no such model"):
        open_backend("dptr-em", "auto")
    assert open_backend(folder, "auto").device in ("cpu", "cuda")


@pytest.mark.parametrize("device", PROVIDERS)
def test_each_provider_at_hand_reads_as_the_cpu_does(device: str) -> None:
    if not has_provider(device):
        pytest.skip(f"this onnxruntime has no {PROVIDERS[device]}; pip install {providers.PACKAGES[device]}")
    try:
        model = open_backend("dptr-en-tiny", device)
    except UserError as error:
        pytest.skip(f"this machine's {PROVIDERS[device]} opens no such graph: {error}")
    expected = OnnxModel(ONNX)
    rng, font, read = np.random.default_rng(5), ImageFont.load_default(20), set()
    for _ in range(5):
        batch = np.stack([draw_word("".join(rng.choice([*"aceinorstADET37"], 5)), font) for _ in range(60)])
        words, own = (each.tokenizer.decode(each.probabilities(batch)) for each in (expected, model))
        assert [word.text for word in own] == [word.text for word in words]
        assert np.allclose([word.confidence for word in own], [word.confidence for word in words], rtol=1e-2)
        read |= {word.text for word in words}
    assert len(read) > 250, "the crops look alike: this test would not see a mix-up"


def draw_word(word: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    image = Image.new("RGB", (128, 32), "white")
    ImageDraw.Draw(image).text((64, 16), word, "black", font, "mm")
    return np.asarray(image)


MANY = max(MANY_THREADS, os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("asked", "threads"), [("1", 1), ("3", 3), ("2,1", 0), ("", 0), ("100000", MANY), ("9" * 5000, MANY)]
)
def test_threads_are_those_that_the_environment_asks_for(
    asked: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray gives each worker its share by this variable. 0: onnxruntime chooses."""
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    file = model_file("dptr-en-tiny", "model.onnx")
    assert open_session(file, "cpu").get_session_options().intra_op_num_threads == threads
    assert open_session(file, "cpu", 2).get_session_options().intra_op_num_threads == 2


def test_no_memory_is_kept_for_each_shape_of_pictures() -> None:
    """research/bench/memory.py measures what the plans of onnxruntime take."""
    options = open_session(model_file("dptr-en-tiny", "model.onnx"), "cpu").get_session_options()
    assert not options.enable_mem_pattern


def test_a_model_is_known_by_its_digest(tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(model_file("dptr-en-tiny", "model.onnx").read_bytes())
    assert digest_model(copy) == digest_model("dptr-en-tiny") != digest_model("dptr-en")
    with pytest.raises(UserError):
        digest_model(tmp_path / "none.onnx")
