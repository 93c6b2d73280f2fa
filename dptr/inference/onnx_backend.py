"""The onnxruntime backend: it opens a file that ``dptr export`` wrote, and does not need torch.

The graph in such a file takes pixels and returns probabilities. All else that a reader needs (the charset, the longest
word, the size of crops, the temperature, the model card) is JSON in the file's metadata, under the key ``METADATA``.
``dump_metadata`` writes that JSON when a model is exported; ``OnnxModel`` reads it back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from dptr.inference.beam import Hypotheses, Rules
from dptr.inference.providers import open_session
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.images import HALF_RANGE, to_pixels
from dptr.utils.sizes import WIDTH_STEP, CropSizes, Sizes
from dptr.version import __version__

FORMAT = 1  # of the JSON in the metadata; files of another format are refused
METADATA = "dptr"
SUFFIX = ".onnx"
GUIDE = "next", "missing", "keep", "gain", "other", "temperature", "beam_width"
"""Inputs of a graph that can search for the words of a language (``dptr.inference.beam.Rules``). Without them, or with
a width of 0, it reads freely."""

BEAM = "symbols", "chances", "scores", "ended", "left", "cut"
"""What the search returns (``dptr.inference.beam.Hypotheses``)."""


class OnnxModel:
    """An exported recognizer, open in onnxruntime; a ``dptr.inference.backend.Backend``.

    Args:
        path: the file.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``openvino`` (``dptr.inference.providers``).
        threads: how many threads compute on the CPU; 0 = onnxruntime chooses.

    Attributes:
        session: the onnxruntime session; it takes ``pixels`` (n, 3, h, w), float32 from -1 to 1.
        metadata: the JSON of the file, as ``dump_metadata`` describes it.

    The other attributes are those of ``Backend``.

    Raises:
        UserError: there is no such file, it is damaged or was not written by ``dptr export``, another version of dptr
            wrote it in another format, onnxruntime is not installed, or it cannot use the device.
    """

    def __init__(self, path: str | Path, device: str = "cpu", threads: int = 0) -> None:
        if not Path(path).is_file():
            raise UserError(f"model '{path}': no such file; check the path, or write it with 'dptr export'")
        self.session = open_session(path, device, threads)
        self.device = device
        outputs = {output.name for output in self.session.get_outputs()}
        self.searches: Literal["prefixes", "paths", "positions"] = "positions"
        if "paths" in outputs:
            self.searches = "paths"
        elif outputs.issuperset(BEAM):
            self.searches = "prefixes"
        held = self.metadata = _load_metadata(path, self.session.get_modelmeta().custom_metadata_map)
        try:
            charset = Charset(held["charset"]["name"], tuple(held["charset"]["characters"]))
            self.tokenizer = Tokenizer(charset, held["max_length"])
            self.card: dict[str, Any] = held["card"]
            self.temperature = float(held["temperature"] or 1.0)
            sizes = tuple((high, wide) for high, wide in held.get("sizes", ()))  # this key and ``widest`` came later
            self.size: Sizes = CropSizes(held["height"], held["width"], held.get("widest", 0), sizes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from error

    def probabilities(self, crops: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n t classes"]:
        """Recognize crops of one size: see ``dptr.inference.backend.Backend.probabilities``."""
        (probabilities,) = self.session.run(["probabilities"], {"pixels": to_pixels(crops)})
        return probabilities

    def paths(self, crops: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n t classes"]:
        """Label the positions of a CTC network: see ``dptr.inference.backend.Backend.paths``."""
        (paths,) = self.session.run(["paths"], {"pixels": to_pixels(crops)})
        return paths

    def search(self, crops: UInt8[np.ndarray, "n h w 3"], rules: Rules, width: int) -> Hypotheses:
        """Read the words of a language: see ``dptr.inference.backend.Backend.search``."""
        guide = dict(zip(GUIDE, (*rules.arrays(), np.array(width, np.int64)), strict=True))
        found = self.session.run(BEAM, {"pixels": to_pixels(crops), **guide})
        return Hypotheses(*found)


def dump_metadata(
    name: str,
    tokenizer: Tokenizer,
    size: Sizes,
    card: dict[str, Any],
    weights: str,
    numbers: str,
    temperature: float,
) -> str:
    """Write down, as JSON, what a reader needs beside the graph.

    Args:
        name: the model's name.
        tokenizer: its charset and longest word.
        size: of the crops: keys ``height``, ``width``, ``widest`` (``Sizes.max_width``), and ``sizes``.
        card: the model card of the checkpoint.
        weights: digest (``dptr.utils.files.digest``) of the checkpoint's weights that the graph holds.
        numbers: how the graph stores its weights: ``float32``, ``float16 weights``, ``int8 dynamic`` or
            ``int8 static``.
        temperature: of the confidence, > 0. The graph's own probabilities are those of temperature 1.
    """
    several = len(size.every) > 1
    return json.dumps(
        {
            "format": FORMAT,
            "name": name,
            "charset": {"name": tokenizer.charset.name, "characters": "".join(tokenizer.charset.characters)},
            "max_length": tokenizer.max_length,
            "eos": tokenizer.eos,
            "height": size.height,
            "width": size.width,
            "widest": size.max_width,
            "sizes": size.sizes,
            "preprocessing": {
                "colors": "RGB",
                "resize": "stretch, Pillow BICUBIC (antialiased)"
                + (f", to the size of the nearest shape of {size}, widths in steps of {WIDTH_STEP}" if several else ""),
                "mean": HALF_RANGE,
                "deviation": HALF_RANGE,
            },
            "temperature": temperature,
            "numbers": numbers,
            "weights": weights,
            "dptr": __version__,
            "card": card,
        },
        ensure_ascii=False,
    )


def _load_metadata(path: str | Path, entries: dict[str, str]) -> dict[str, Any]:
    """Parse what ``dump_metadata`` wrote; ``entries`` is all metadata of the file."""
    if METADATA not in entries:
        raise UserError(f"{path}: an ONNX file of another program; pass one that 'dptr export' wrote")
    try:
        metadata = json.loads(entries[METADATA])
        version = metadata.get("format")
    except (ValueError, RecursionError, AttributeError) as error:
        raise _damaged(path, error) from error
    if version != FORMAT:
        raise UserError(
            f"{path}: export format {version!r}; this version of dptr reads format {FORMAT}; export the model again"
        )
    return metadata


def _damaged(path: str | Path, error: Exception) -> UserError:
    return UserError(f"{path}: its metadata is damaged ({error!r}); copy the file anew, or export it again")
