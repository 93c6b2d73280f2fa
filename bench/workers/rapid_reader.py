"""rapidocr's recogniser as a worker: ``rapid_reader.py '{"crops": FILE, "threads": 0, "batch": 0}'``.

Detector and classifier are off; the recogniser is the one that ``RapidOCR()`` opens by default, which the package
brings along. ``threads`` and ``batch`` (crops that it computes at once; it sorts them by shape and pads them to the
widest) are its own defaults where they are 0.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_rec import TextRecInput
from reading import crops_of, serve_reading


def main() -> None:
    options = json.loads(sys.argv[1])
    settings: dict[str, Any] = {"Global.use_det": False, "Global.use_cls": False}
    if options["threads"]:
        settings["EngineConfig.onnxruntime.intra_op_num_threads"] = options["threads"]
    if options["batch"]:
        settings["Rec.rec_batch_num"] = options["batch"]
    crops = [np.ascontiguousarray(crop[..., ::-1]) for crop in crops_of(options["crops"])]  # BGR, as OpenCV has them
    engine = RapidOCR(params=settings)
    engine(crops[0])  # opens the recogniser
    recognise = engine.text_rec
    serve_reading(lambda wanted: recognise(TextRecInput(img=list(wanted))).txts, crops)


if __name__ == "__main__":
    main()
