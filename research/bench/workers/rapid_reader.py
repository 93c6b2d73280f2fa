"""rapidocr's recognizer as a worker: ``rapid_reader.py '{"crops": FILE, "threads": 0, "batch": 0, "tall": 0}'``.

Detector and classifier are off; the recognizer is the one that ``RapidOCR()`` opens by default, which the package
brings along. ``threads`` and ``batch`` (crops that it computes at once; it sorts them by shape and pads them to the
widest) are its own defaults where they are 0. Crops taller than ``tall`` times their width are read turned by 90
degrees either way too, and the surest reading of two characters or more counts, as with ``dptr.Reader``; 0 = none is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
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
    engine(crops[0])  # opens the recognizer
    recognize: Any = engine.text_rec

    def read(wanted: Sequence[np.ndarray]) -> list[str]:
        views = [(number, crop) for number, crop in enumerate(wanted)]
        for number, crop in enumerate(wanted):
            if options["tall"] and crop.shape[0] > options["tall"] * crop.shape[1]:
                views += [(number, np.ascontiguousarray(np.rot90(crop, turns))) for turns in (1, 3)]
        seen = recognize(TextRecInput(img=[crop for _, crop in views]))
        best = list(zip(seen.scores, seen.txts, strict=True))[: len(wanted)]
        for (number, _), score, text in zip(views, seen.scores, seen.txts, strict=True):
            if len(text) > 1 and score > best[number][0]:
                best[number] = (score, text)
        return [text for _, text in best]

    serve_reading(read, crops)


if __name__ == "__main__":
    main()
