"""Training for 8 bits computes what the exported file computes in 8 bits."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from dptr.export.quantize import quantize_activations
from dptr.export.trace import OPSET, trace
from dptr.training.int8 import round_activations, round_weights, simulate_int8
from dptr.utils.resize import to_pixels
from tests.export.test_quantize import SmallNetwork


def test_the_simulation_computes_what_the_quantized_file_computes() -> None:
    torch.manual_seed(3)
    network = SmallNetwork().eval()
    graph = trace(network, {"pixels": torch.zeros(1, 3, 16, 24)}, ["out"], {"pixels": {}})
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
    crop = np.random.default_rng(4).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    pixels = to_pixels(crop[None])
    file = quantize_activations(model, [crop], "means").SerializeToString()
    in_8_bits = onnxruntime.InferenceSession(file).run(None, {"pixels": pixels})[0]
    simulated = copy.deepcopy(network)
    assert simulate_int8(simulated) == 4  # two of pooled features do not round: they have 1 x 1 pixels
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels)).numpy()
        result = simulated(torch.from_numpy(pixels)).numpy()
    assert np.abs(result - in_8_bits).max() < 2 * np.ptp(in_8_bits) / 255
    errors = [(each - expected).ravel() for each in (result, in_8_bits)]
    assert np.corrcoef(*errors)[0, 1] > 0.6


def test_values_are_rounded_to_a_grid_that_has_zero() -> None:
    x = torch.tensor([[-1.0, 0.0, 3.0], [-3.0, 0.1, 5.0]])
    rounded = round_activations(x)  # from -2 to 4
    step = 6 / 255
    np.testing.assert_allclose(rounded / step, (rounded / step).round(), atol=1e-3)
    assert rounded[0, 1] == 0 and abs(rounded[1, 0] + 2) < step and abs(rounded[1, 2] - 4) < step
    weights = torch.tensor([[1.0, -0.26, 0.0], [-8.0, 0.06, 0.07]])
    np.testing.assert_allclose(round_weights(weights), [[1, -17 / 64, 0], [-8, 0, 0.125]], atol=1e-6)


def test_the_gradient_passes_through_rounding_and_names_stay() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 5, 1), nn.Flatten(), nn.Linear(20, 2))
    names = [*network.state_dict()]
    simulate_int8(network)
    assert [*network.state_dict()] == names
    network(torch.randn(3, 4, 2, 2)).square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0
