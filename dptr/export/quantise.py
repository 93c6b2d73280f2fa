"""Eight-bit weights by onnxruntime's quantiser: smaller files, and readings that may differ."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from dptr.images import to_pixels


class _Crops(CalibrationDataReader):
    def __init__(self, crops: Sequence[np.ndarray]) -> None:
        self.rest: Iterator[np.ndarray] = iter(crops)

    def get_next(self) -> dict[str, np.ndarray] | None:
        crop = next(self.rest, None)
        return None if crop is None else {"pixels": to_pixels(crop[None])}


def quantise(made: onnx.ModelProto, crops: Sequence[np.ndarray] | None) -> onnx.ModelProto:
    """The graph with int8 weights, a scale a channel.

    Args:
        crops: uint8 (h, own width, 3), to calibrate the range of activations with (static: convolutions and matrix
            products outside the loop of decoding steps); None = ranges are found while computing (dynamic: matrix
            products, in the loop too).
    """
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(made.SerializeToString())
        if crops is None:
            quantize_dynamic(
                before, after, ["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8,
                extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
            )  # fmt: skip
        else:
            quantize_static(
                before, after, _Crops(crops), QuantFormat.QDQ, ["Conv", "MatMul", "Gemm"], per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
        return onnx.load(after)
