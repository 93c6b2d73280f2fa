"""Resident memory while several threads find and read text on pictures of changing size.

    python research/bench/memory.py [--pictures 60] [--threads 3] [--plans]

The pictures are those of ``soak.py``. Prints the megabytes before the first picture and after each fifth of them, the
peak, and the computing time. ``--plans`` lets onnxruntime keep a memory plan for each shape, as it does by default.
"""

from __future__ import annotations

import argparse
import io
import resource
import threading
import time

import onnxruntime
from PIL import Image
from soak import draw_file, read_resident

from dptr import OCR


class Options(onnxruntime.SessionOptions):
    """Session options that keep memory plans, whatever is asked for."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, True if name == "enable_mem_pattern" else value)


def draw_pictures(count: int) -> list[Image.Image]:
    pictures: list[Image.Image] = []
    number = 0
    while len(pictures) < count:
        suffix, content = draw_file(3, number)
        number += 1
        if suffix != ".pdf":
            pictures.append(Image.open(io.BytesIO(content)).convert("RGB"))
    return pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--model", default="dptr-en-tiny")
    parser.add_argument("--plans", action="store_true")
    options = parser.parse_args()
    if options.plans:
        onnxruntime.SessionOptions = Options
    ocr = OCR(options.model)
    pictures = draw_pictures(options.pictures)
    lock, waiting, megabytes = threading.Lock(), iter(pictures), [read_resident()]
    done = 0

    def read() -> None:
        nonlocal done
        while True:
            with lock:
                picture = next(waiting, None)
            if picture is None:
                return
            ocr(picture)
            with lock:
                done += 1
                if done % max(1, len(pictures) // 5) == 0:
                    megabytes.append(read_resident())

    begun = time.process_time()
    threads = [threading.Thread(target=read) for _ in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print("MB:", *(round(each) for each in megabytes), f"| peak {peak:.0f} | {time.process_time() - begun:.0f} CPU s")


if __name__ == "__main__":
    main()
