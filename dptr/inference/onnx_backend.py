"""The onnxruntime backend: it opens a file that ``dptr export`` wrote, and does not need torch.

The graph in such a file takes pixels and returns probabilities. The file's metadata has, under the key ``METADATA``,
JSON with the rest of what a reader needs: charset, longest word, size of crops, temperature, and model card.
``dump_metadata`` writes it at export; ``OnnxModel`` reads it. The file ends with a digest of all bytes before
(``seal``).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from dptr.inference.beam import Hypotheses, Rules
from dptr.inference.providers import open_session
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.reading import check_depth, read_file
from dptr.utils.resize import HALF_RANGE, to_pixels
from dptr.utils.sizes import WIDTH_STEP, CropSizes, Sizes
from dptr.version import __version__

FORMAT = 1  # of the JSON in the metadata; files of another format are refused
STRETCHED = 2  # the format of files with ``stretch`` other than 1, which older versions would read wrongly
METADATA = "dptr"
SUFFIX = ".onnx"
LARGEST_SIDE, LONGEST_WORD = 4096, 4096  # pixels, characters: far above any model; bounded before they are allocated
GUIDE = "next", "missing", "keep", "gain", "other", "temperature", "beam_width"
"""Inputs of a graph that supports beam search (``dptr.inference.beam.Rules``). Without them, or with a width of 0,
reading is unconstrained."""

BEAM = "symbols", "chances", "scores", "ended", "left", "cut"
"""Outputs of the search (``dptr.inference.beam.Hypotheses``)."""


class OnnxModel:
    """An exported recognizer, open in onnxruntime; a ``dptr.inference.backend.Backend``.

    Args:
        path: the file.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``openvino`` (``dptr.inference.providers``).
        threads: on the CPU; 0 = see ``open_session``.

    Attributes:
        session: the onnxruntime session; it takes ``pixels`` (n, 3, h, w), float32 from -1 to 1.
        metadata: the JSON of the file, as ``dump_metadata`` describes it.

    The other attributes are those of ``Backend``.

    Raises:
        UserError: no such file; it is damaged, or ``dptr export`` did not write it; it has the format of another
            version; onnxruntime is not installed, or cannot use the device. Reading raises it if the graph fails, or
            returns anything but probabilities.
    """

    def __init__(self, path: str | Path, device: str = "cpu", threads: int = 0) -> None:
        if not Path(path).is_file():
            raise UserError(f"model '{path}': no such file; check the path, or write it with 'dptr export'")
        self.path = path
        sealed = _check_seal(path)
        self.session = open_session(path, device, threads)
        self.device = device
        outputs = {output.name for output in self.session.get_outputs()}
        self.searches = _find_search(outputs)
        try:
            entries = self.session.get_modelmeta().custom_metadata_map
        except ValueError as error:  # not UTF-8
            raise _damaged(path, error) from error
        self.metadata = metadata = _load_metadata(path, entries)
        try:
            if metadata.get("digest") and not sealed:
                raise ValueError("its digest is missing")
            self.tokenizer = _parse_tokenizer(metadata)
            self.card: dict[str, Any] = metadata["card"]
            self.temperature = float(metadata["temperature"] or 1.0)
            if not 0 < self.temperature < math.inf or not isinstance(self.card, dict):
                raise ValueError(f"temperature {self.temperature}, card of type {type(self.card).__name__}")
            self.size = _parse_size(metadata)
            if not isinstance(metadata["max_length"], int) or not 1 <= metadata["max_length"] <= LONGEST_WORD:
                raise ValueError(f"max_length {metadata['max_length']}")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, UserError) as error:
            raise _damaged(path, error) from error
        self._classes = len(self.tokenizer.charset) + 1
        inputs = {each.name: (each.type, len(each.shape)) for each in self.session.get_inputs()}
        if inputs.get("pixels") != ("tensor(float)", 4) or "probabilities" not in outputs:
            raise UserError(f"{path}: a graph that takes {', '.join(inputs)}, not pixels of crops; export it again")

    def probabilities(self, crops: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n t classes"]:
        """Recognize crops of one size: see ``dptr.inference.backend.Backend.probabilities``."""
        return self._rows("probabilities", crops)

    def paths(self, crops: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n t classes"]:
        """Label the positions of a CTC network: see ``dptr.inference.backend.Backend.paths``."""
        return self._rows("paths", crops)

    def probabilities_and_paths(
        self, crops: UInt8[np.ndarray, "n h w 3"]
    ) -> tuple[Float32[np.ndarray, "n t classes"], Float32[np.ndarray, "n positions classes"]]:
        """``probabilities`` and ``paths``: see ``dptr.inference.backend.Backend.probabilities_and_paths``."""
        rows, paths = self._several(("probabilities", "paths"), crops)
        return rows, paths

    def search(self, crops: UInt8[np.ndarray, "n h w 3"], rules: Rules, width: int) -> Hypotheses:
        """Read the words of a language: see ``dptr.inference.backend.Backend.search``."""
        guide = dict(zip(GUIDE, (*rules.arrays(), np.array(width, np.int64)), strict=True))
        hypotheses = Hypotheses(*self._run(BEAM, {"pixels": to_pixels(crops), **guide}))
        shape, symbols = (len(crops), width), hypotheses.symbols
        if symbols.ndim != 3 or symbols.shape[:2] != shape or hypotheses.chances.shape != symbols.shape:
            raise self._bad_output(f"symbols of shape {symbols.shape}")
        if symbols.min() < 0 or symbols.max() >= self._classes or not np.isfinite(hypotheses.chances).all():
            raise self._bad_output("symbols or chances outside their range")
        return hypotheses

    def _rows(self, output: str, crops: np.ndarray) -> np.ndarray:
        return self._several((output,), crops)[0]

    def _several(self, outputs: Sequence[str], crops: np.ndarray) -> list[np.ndarray]:
        several = self._run(outputs, {"pixels": to_pixels(crops)})
        for output, rows in zip(outputs, several, strict=True):
            if rows.ndim != 3 or not rows.shape[1] or (len(rows), rows.shape[2]) != (len(crops), self._classes):
                raise self._bad_output(
                    f"{output} of shape {rows.shape} for {len(crops)} crops and {self._classes} classes"
                )
            if rows.dtype != np.float32 or not np.isfinite(rows).all():
                raise self._bad_output(f"{output} that are not finite float32")
        return several

    def _run(self, outputs: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
        try:
            return self.session.run(outputs, inputs)
        except Exception as error:  # onnxruntime's errors have no common class of their own
            if not type(error).__module__.startswith("onnxruntime") and not isinstance(
                error, RuntimeError | ValueError
            ):
                raise
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{self.path}: does not compute on {self.device} ({reason}); lower the batch size, or export it again"
            ) from error

    def _bad_output(self, what: str) -> UserError:
        return UserError(f"{self.path}: gives {what}; damaged or not dptr's; copy the file anew, or export it again")


_SEAL = b"dptr-digest"
_ENTRY = b"\x72\x4f\x0a\x0b" + _SEAL + b"\x12\x40"  # ModelProto.metadata_props: key of 11 bytes, value of 64


def seal(data: bytes) -> bytes:
    """Append the SHA-256 of a serialized ONNX model to it, as another entry of its metadata.

    Protocol buffers allow this: elements that are appended to a message extend its repeated fields.
    """
    return data + _ENTRY + hashlib.sha256(data).hexdigest().encode()


def _check_seal(path: str | Path) -> bool:
    """Whether a file has a digest; files of older versions have none.

    Raises:
        UserError: the digest is not that of the content, or the file cannot be read.
    """
    try:
        data = memoryview(read_file(path, 1 << 32))
    except OSError as error:
        raise UserError(f"model '{path}': {error.strerror}; check the path") from error
    end = len(data) - len(_ENTRY) - 64
    if end < 0 or data[end : end + len(_ENTRY)] != _ENTRY:
        return False
    if hashlib.sha256(data[:end]).hexdigest().encode() != data[end + len(_ENTRY) :]:
        raise UserError(f"{path}: not whole, its content differs from its digest; copy it anew, or export it again")
    return True


def dump_metadata(
    name: str,
    tokenizer: Tokenizer,
    size: Sizes,
    card: dict[str, Any],
    weights: str,
    numbers: str,
    temperature: float,
) -> str:
    """The metadata of an exported file, as JSON.

    Args:
        name: of the model.
        tokenizer: its charset, longest word, and order of characters are written.
        size: of crops, as keys ``height``, ``width``, ``widest`` (``Sizes.max_width``), ``sizes``, and
            ``stretch``.
        card: the model card of the checkpoint.
        weights: digest (``dptr.utils.files.digest``) of the exported checkpoint's weights.
        numbers: type of the weights in the graph: ``float32``, ``float16 weights``, ``int8 weights``,
            ``int8 dynamic`` or ``int8 static``.
        temperature: of the confidence, > 0. The graph does not apply it.
    """
    several = len(size.every) > 1
    return json.dumps(
        {
            "format": FORMAT if size.stretch == 1 else STRETCHED,
            "name": name,
            "charset": {"name": tokenizer.charset.name, "characters": "".join(tokenizer.charset.characters)},
            "visual": tokenizer.visual,
            "max_length": tokenizer.max_length,
            "eos": tokenizer.eos,
            "height": size.height,
            "width": size.width,
            "widest": size.max_width,
            "sizes": size.sizes,
            "stretch": size.stretch,
            "preprocessing": {
                "colors": "RGB",
                "resize": "stretch, Pillow BICUBIC (antialiased)"
                + (f", to the size of the nearest shape of {size}, widths in steps of {WIDTH_STEP}" if several else ""),
                "mean": HALF_RANGE,
                "deviation": HALF_RANGE,
            },
            "temperature": temperature,
            "numbers": numbers,
            "digest": "sha256",
            "weights": weights,
            "dptr": __version__,
            "card": card,
        },
        ensure_ascii=False,
    )


def _load_metadata(path: str | Path, entries: dict[str, str]) -> dict[str, Any]:
    """Parse the result of ``dump_metadata``; ``entries`` are all metadata of the file."""
    if METADATA not in entries:
        raise UserError(f"{path}: an ONNX file of another program; pass one that 'dptr export' wrote")
    try:
        metadata = json.loads(entries[METADATA], parse_constant=_refuse_constant)
        check_depth(metadata)
        version = metadata.get("format")
    except (ValueError, RecursionError, AttributeError) as error:
        raise _damaged(path, error) from error
    if version not in (FORMAT, STRETCHED):
        raise UserError(
            f"{path}: export format {version!r}; this version of dptr reads formats {FORMAT} and {STRETCHED}; "
            "export the model again"
        )
    return metadata


def _parse_tokenizer(metadata: dict[str, Any]) -> Tokenizer:
    """The tokenizer of ``dump_metadata``; a ``ValueError`` or the like if it is damaged."""
    charset = Charset(metadata["charset"]["name"], tuple(metadata["charset"]["characters"]))
    visual = metadata.get("visual", "")  # files of older versions lack this key
    if visual not in ("", "rtl", "ltr"):
        raise ValueError(f"visual is {visual!r}")
    return Tokenizer(charset, metadata["max_length"], visual)


def _parse_size(metadata: dict[str, Any]) -> Sizes:
    """The size of crops of ``dump_metadata``; a ``ValueError`` or the like if it is damaged."""
    sizes = tuple((high, wide) for high, wide in metadata.get("sizes", ()))  # as ``visual``, and ``widest``
    height, width, widest = metadata["height"], metadata["width"], metadata.get("widest", 0)
    sides = [height, width, widest, *(side for pair in sizes for side in pair)]
    if not all(isinstance(side, int) and 0 <= side <= LARGEST_SIDE for side in sides) or not all(sides[:2]):
        raise ValueError(f"crops of {height}x{width} pixels")
    stretch = metadata.get("stretch", 1.0)
    if not isinstance(stretch, int | float) or not 0.1 <= stretch <= 10:
        raise ValueError(f"stretch of {stretch!r}")
    return CropSizes(height, width, widest, sizes, stretch)


def _find_search(outputs: set[str]) -> Literal["prefixes", "paths", "positions"]:
    """What a graph with these outputs searches; see ``dptr.inference.backend.Backend``."""
    if "paths" in outputs:
        return "paths"
    return "prefixes" if outputs.issuperset(BEAM) else "positions"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _damaged(path: str | Path, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    reason = reason if len(reason) < 200 else f"{reason[:80]} ... {reason[-80:]}"
    return UserError(f"{path}: its metadata is damaged ({reason}); copy the file anew, or export it again")
