"""How long exported files take beside each other: the networks alone, in alternation.

    python research/bench/files.py float.onnx int8.onnx [--rounds 30] [--threads 1]

Random pixels of several widths and batches. Prints median times, and their ratios to the first file.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import onnxruntime

SHAPES = (1, 96), (1, 160), (1, 320), (1, 640), (32, 160)  # crops, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = options.threads, 3
    settings.enable_mem_pattern = False
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    sessions = [onnxruntime.InferenceSession(file, settings) for file in options.files]
    height = sessions[0].get_inputs()[0].shape[2]
    print(f"{options.threads} threads, medians of {options.rounds} rounds in alternation")
    for crops, width in SHAPES:
        pixels = np.random.default_rng(0).uniform(-1, 1, (crops, 3, height, width)).astype(np.float32)
        seconds: list[list[float]] = [[] for _ in sessions]
        for _ in range(options.rounds):
            for session, times in zip(sessions, seconds, strict=True):
                begun = time.perf_counter()
                session.run(None, {"pixels": pixels})
                times.append(time.perf_counter() - begun)
        medians = [1e3 * float(np.median(times)) for times in seconds]
        shown = ", ".join(f"{each:.1f} ms ({each / medians[0]:.2f})" for each in medians)
        print(f"{crops:3d} of width {width}: {shown}", flush=True)


if __name__ == "__main__":
    main()
