"""Make the shipped text detector: the small detector of PP-OCRv6 from rapidocr, with weights rounded to 8 bits.

    python scripts/detector.py

Writes ``dptr/photo/detector.onnx``. The network still computes in float32. docs/evidence/photographs.md measures the
effect of rounding. Needs [export] and ``rapidocr``.
"""

from __future__ import annotations

import onnx

from dptr.export.rounding import halve, round_weights
from dptr.photo.detect import EMBEDDED, find_rapidocr
from dptr.utils.files import atomic_file

SOURCE = {
    "source": "PP-OCRv6_det_small by the authors of PaddleOCR, as PyPI's rapidocr 3.10.0 holds it",
    "license": "Apache-2.0",
    "changes": "weights rounded to 8 bits, by DPTR's scripts/detector.py",
}


def round_detector(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same network in a quarter of the size; onnxruntime restores the weights once, on loading."""
    small = halve(round_weights(graph))
    onnx.helper.set_model_props(small, SOURCE)
    return small


def main() -> None:
    small = round_detector(onnx.load(find_rapidocr()))
    with atomic_file(EMBEDDED) as aside:
        aside.write_bytes(small.SerializeToString(deterministic=True))
    print(f"{EMBEDDED}: {EMBEDDED.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
