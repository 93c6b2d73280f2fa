"""The onnxruntime backend: a file that ``dptr export`` wrote. It needs no torch.

Everything that is not in the graph stands as JSON in the file's metadata under ``METADATA``: ``describe`` writes it,
``OnnxModel`` reads it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.images import MIDDLE, to_pixels
from dptr.utils.widths import STEP
from dptr.version import __version__

FORMAT = 1
METADATA = "dptr"
SUFFIX = ".onnx"


class OnnxModel:
    """A recogniser in a file.

    Args:
        path: the file.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        threads: on the CPU; 0 = as many as onnxruntime chooses.

    Raises:
        UserError: no such file, damaged, of another program or format, onnxruntime missing or built without the device.
    """

    def __init__(self, path: str | Path, device: str = "cpu", threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{path}: onnxruntime is not installed; pip install onnxruntime") from error
        if not Path(path).is_file():
            raise UserError(f"model '{path}': no such file; check the path, or write it with 'dptr export'")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors, which are raised as well
        # Threads that spin while they wait double the time of a batch where other programs want the cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(device, onnxruntime.get_available_providers())
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers)
        except Exception as error:  # onnxruntime's errors have no common class of their own
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: not a whole ONNX file ({reason}); copy it anew, or export it again") from error
        self.described = _described(path, self.session.get_modelmeta().custom_metadata_map)
        charset = Charset(self.described["charset"]["name"], tuple(self.described["charset"]["characters"]))
        self.tokenizer = Tokenizer(charset, self.described["max_length"])
        self.card: dict[str, Any] = self.described["card"]
        self.temperature = float(self.described["temperature"] or 1.0)
        self.height: int = self.described["height"]
        self.width: int = self.described["width"]
        self.widest: int = self.described.get("widest", 0)  # files of before have none

    def probabilities(self, crops: UInt8[np.ndarray, "n height w 3"]) -> Float32[np.ndarray, "n t classes"]:
        """Probabilities of EOS and the characters by position."""
        (found,) = self.session.run(None, {"pixels": to_pixels(crops)})
        return found


def describe(
    name: str,
    tokenizer: Tokenizer,
    height: int,
    width: int,
    widest: int,
    card: dict[str, Any],
    weights: str,
    numbers: str,
    temperature: float,
) -> str:
    """The metadata of a file, as JSON.

    Args:
        name: of the model.
        card: of the checkpoint.
        widest: of the crops, where they are of several widths; else 0.
        weights: digest of the weights that the graph holds.
        numbers: ``float32``, ``float16 weights``, ``int8 dynamic`` or ``int8 static``.
        temperature: of the confidence; the graph's own probabilities are those of temperature 1.
    """
    return json.dumps(
        {
            "format": FORMAT,
            "name": name,
            "charset": {"name": tokenizer.charset.name, "characters": "".join(tokenizer.charset.characters)},
            "max_length": tokenizer.max_length,
            "eos": tokenizer.eos,
            "height": height,
            "width": width,
            "widest": widest,
            "preprocessing": {
                "colours": "RGB",
                "resize": "stretch, Pillow BICUBIC (antialiased)"
                + (f", to the width nearest to the picture's shape in steps of {STEP}" if widest else ""),
                "mean": MIDDLE,
                "deviation": MIDDLE,
            },
            "temperature": temperature,
            "numbers": numbers,
            "weights": weights,
            "dptr": __version__,
            "card": card,
        },
        ensure_ascii=False,
    )


def _described(path: str | Path, metadata: dict[str, str]) -> dict[str, Any]:
    if METADATA not in metadata:
        raise UserError(f"{path}: an ONNX file of another program; pass one that 'dptr export' wrote")
    described = json.loads(metadata[METADATA])
    if described.get("format") != FORMAT:
        raise UserError(
            f"{path}: export format {described.get('format')!r}; this version of dptr reads format {FORMAT}; "
            "export the model again"
        )
    return described


def _providers(device: str, available: list[str]) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None or "CUDAExecutionProvider" not in available:
        raise UserError(
            f"device '{device}': this onnxruntime computes on cpu"
            f"{' and cuda' if 'CUDAExecutionProvider' in available else ''}; use that, or install onnxruntime-gpu"
        )
    return [("CUDAExecutionProvider", {"device_id": int(match[1] or 0)}), "CPUExecutionProvider"]
