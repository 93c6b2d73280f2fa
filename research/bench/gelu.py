"""What one operator for each GELU saves: onnxruntime with and without ``GeluFusion`` on the same file, in alternation.

    python research/bench/gelu.py [--model dptr-latin] [--rounds 30]

Random pixels of several widths and batches, one thread. Prints the median times and their ratio.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import onnxruntime

from dptr.weights import model_file

SHAPES = (1, 96), (1, 160), (1, 640), (32, 160)  # crops, width
FUSIONS = ["GeluFusionL1", "GeluFusionL2"]


def open_pair(path: str) -> list[onnxruntime.InferenceSession]:
    sessions = []
    for disabled in (FUSIONS, []):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level, options.enable_mem_pattern = 1, 3, False
        sessions.append(onnxruntime.InferenceSession(path, options, disabled_optimizers=disabled))
    return sessions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dptr-latin")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    sessions = open_pair(str(model_file(options.model, "model.onnx")))
    height = sessions[0].get_inputs()[0].shape[2]
    for crops, width in SHAPES:
        pixels = np.random.default_rng(0).uniform(-1, 1, (crops, 3, height, width)).astype(np.float32)
        seconds: list[list[float]] = [[], []]
        for _ in range(options.rounds):
            for session, times in zip(sessions, seconds, strict=True):
                begun = time.perf_counter()
                session.run(None, {"pixels": pixels})
                times.append(time.perf_counter() - begun)
        before, after = (1e3 * float(np.median(times)) for times in seconds)
        print(f"{crops:3d} of width {width}: {before:.1f} -> {after:.1f} ms, ratio {after / before:.3f}", flush=True)


if __name__ == "__main__":
    main()
