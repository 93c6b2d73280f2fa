"""What static quantization computes in 8 bits, and with which weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from torch import nn

from dptr.export.parity import load_sample, share_evenly
from dptr.export.quantize import quantize
from dptr.export.trace import OPSET, trace
from dptr.utils.errors import UserError
from dptr.utils.sizes import CropSizes


class SmallNetwork(nn.Module):
    """One convolution of each kind, in order: pixels, depthwise, pointwise, two of pooled features, pointwise."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.first = nn.Conv2d(8, 12, 1)
        self.squeeze, self.excite = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1)
        self.second = nn.Conv2d(12, 6, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = nn.functional.gelu(self.first(self.depthwise(self.pixels(pixels))))
        gate = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.second((gate * x).mean(2, keepdim=True))


@pytest.fixture(scope="module")
def quantized() -> tuple[onnx.ModelProto, nn.Module]:
    torch.manual_seed(0)
    network = SmallNetwork().eval()
    graph = trace(network, {"pixels": torch.zeros(1, 3, 16, 24)}, ["out"], {"pixels": {}})
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
    crops = np.random.default_rng(1).integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
    return quantize(model, list(crops)), network


def test_pointwise_convolutions_compute_in_8_bits_and_the_others_do_not(quantized) -> None:
    model, _ = quantized
    makers = {output: node for node in model.graph.node for output in node.output}
    weights = [makers.get(node.input[1]) for node in model.graph.node if node.op_type == "Conv"]
    in_8_bits = [maker is not None and maker.op_type == "DequantizeLinear" for maker in weights]
    assert in_8_bits == [False, False, True, False, False, True]


def test_weights_have_7_bits_so_that_pairs_of_products_fit_into_16(quantized) -> None:
    model, _ = quantized
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert len(weights) == 2
    for values in weights:
        assert 60 < np.abs(values.astype(int)).max() <= 64
        assert 2 * 255 * 64 < 2**15  # a pair of products, as CPUs without VNNI add them


def test_the_quantized_network_is_near_the_one_in_float32(quantized) -> None:
    model, network = quantized
    pixels = np.random.default_rng(2).uniform(-1, 1, (1, 3, 16, 24)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels)).numpy()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    result = session.run(None, {"pixels": pixels})[0]
    assert 0 < np.abs(result - expected).max() < 0.05 * np.ptp(expected) + 0.02


@pytest.mark.parametrize(
    ("sizes", "count", "shares"),
    [([10, 10], 6, [3, 3]), ([10, 2, 10], 9, [3, 2, 4]), ([1, 1], 5, [1, 1]), ([5], 5, [5]), ([4, 4, 4], 2, [1, 1, 0])],
)
def test_each_set_gives_equally_many(sizes: list[int], count: int, shares: list[int]) -> None:
    assert share_evenly(sizes, count) == shares


def test_a_sample_is_spread_over_all_sets(tmp_path: Path) -> None:
    for name, count in (("few", 2), ("many", 10)):
        (tmp_path / name).mkdir()
        for index in range(count):
            Image.new("RGB", (16, 8), (100 * (name == "many") + index,) * 3).save(tmp_path / name / f"{index}.png")
        lines = [f"{index}.png\tword\n" for index in range(count)]
        (tmp_path / name / "labels.tsv").write_text("".join(lines), "utf-8")
    folders = [tmp_path / "few", tmp_path / "many"]
    sample, _ = load_sample(folders, CropSizes(8, 16), 7)
    assert [int(crop[0, 0, 0]) for crop in sample] == [0, 1, 100, 102, 104, 106, 108]
    (tmp_path / "many" / "2.png").write_bytes(b"not a picture")
    sample, drops = load_sample(folders, CropSizes(8, 16), 7)
    assert [int(crop[0, 0, 0]) for crop in sample] == [0, 1, 100, 104, 106, 108, 101] and drops.total == 1
    (tmp_path / "few" / "1.png").write_bytes(b"not a picture")
    sample, drops = load_sample(folders, CropSizes(8, 16), 7)
    assert sorted(int(crop[0, 0, 0]) for crop in sample)[:2] == [0, 100] and len(sample) == 7 and drops.total == 2
    (tmp_path / "few" / "1.png").write_bytes((tmp_path / "few" / "0.png").read_bytes())
    with pytest.raises(UserError, match=r"11 crops \(1 .*\), 13 asked for"):
        load_sample(folders, CropSizes(8, 16), 13)
