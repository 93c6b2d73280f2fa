"""A recognizer as the steps between a picture file and text, to be timed and counted one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from dptr.inference.backend import Backend
from dptr.inference.confidence import apply_temperature
from dptr.inference.onnx_backend import OnnxModel
from dptr.text.tokenizer import Decoded
from dptr.utils.extras import missing_package
from dptr.utils.resize import fit, to_pixels
from dptr.utils.sizes import group_by_size

if TYPE_CHECKING:
    from torch import Tensor

BackendName = Literal["torch", "onnx"]
Source = Callable[[], Image.Image]  # opens and decodes one picture
_Part = tuple[list[int], Any]  # which crops of a batch, all of one size, and what a step made of them


@dataclass(frozen=True)
class StagedRecognizer:
    """An open recognizer on the CPU.

    Attributes:
        version: of torch or onnxruntime.
        steps: by name, in order; each takes what the one before returned, the first a list of ``Source``, the last
            returns a list of ``dptr.text.tokenizer.Decoded``. ``open``, ``preprocess``, then ``encoder`` (with the FMU)
            and ``decoder`` in torch, ``graph`` in onnxruntime, then ``text``. Crops of one size are computed together.
        parameters: how many the model has; None = an exported file does not tell.
    """

    version: str
    steps: dict[str, Callable[[Any], Any]]
    parameters: int | None


def open_staged(backend: BackendName, model: str, threads: int) -> StagedRecognizer:
    """Open a recognizer; torch is imported for ``torch`` alone, onnxruntime for ``onnx`` alone.

    Args:
        model: a shipped name or a folder for ``torch``, a file for ``onnx``.
        threads: of the backend, >= 1; torch has one number for the whole process.

    Raises:
        UserError: no such model, a damaged one, or something that the backend needs is not installed.
    """
    return (_open_torch if backend == "torch" else _open_onnx)(model, threads)


def count_flops(step: Callable[[Any], Any], value: Any) -> tuple[Any, int]:
    """What ``step(value)`` returns, and its floating point operations as ``torch.utils.flop_counter`` counts them.

    A multiply-add is 2. Counted are products of matrices, convolutions and fused attention; sums, norms, activations
    and softmax are not.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        result = step(value)
    return result, counter.get_total_flops()


def mean_flops(staged: StagedRecognizer, sources: Sequence[Source]) -> dict[str, int]:
    """FLOPs of ``encoder`` and ``decoder`` for one crop, mean over ``sources``: long words take more steps."""
    totals = {"encoder": 0, "decoder": 0}
    for source in sources:
        value: Any = [source]
        for name, step in staged.steps.items():
            value, flops = count_flops(step, value)
            if name in totals:
                totals[name] += flops
    return {name: round(total / len(sources)) for name, total in totals.items()}


def _open_torch(model: str, threads: int) -> StagedRecognizer:
    try:
        import torch

        from dptr.inference.torch_backend import TorchModel
    except ModuleNotFoundError as error:
        raise missing_package(error, f"model '{model}'", "train") from error
    torch.set_num_threads(threads)
    opened = TorchModel(model)
    recognizer = opened.model.requires_grad_(False)  # FlopCounterMode fails on parameters that do

    def encode(pixels: np.ndarray) -> Tensor:
        with torch.inference_mode():
            return recognizer.memory(torch.from_numpy(pixels))

    def decode(memory: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return recognizer.decoder.decode(memory, None).float().softmax(-1).numpy()

    steps = _around({"encoder": encode, "decoder": decode}, opened)
    return StagedRecognizer(str(torch.__version__), steps, sum(each.numel() for each in recognizer.parameters()))


def _open_onnx(model: str, threads: int) -> StagedRecognizer:
    opened = OnnxModel(model, threads=threads)
    from onnxruntime import __version__  # OnnxModel says what to do where it is missing

    def graph(pixels: np.ndarray) -> np.ndarray:
        return opened.session.run(None, {"pixels": pixels})[0]

    return StagedRecognizer(__version__, _around({"graph": graph}, opened), None)


def _around(inner: dict[str, Callable[[Any], Any]], opened: Backend) -> dict[str, Callable[[Any], Any]]:
    size = opened.size

    def open_all(sources: Sequence[Source]) -> list[Image.Image]:
        return [source() for source in sources]

    def preprocess(images: Sequence[Image.Image]) -> list[_Part]:
        crops = [fit(image, size) for image in images]
        return [(indices, to_pixels(batch)) for indices, batch in group_by_size(crops, len(crops))]

    def read(parts: list[_Part]) -> list[Decoded]:
        words: dict[int, Decoded] = {}
        for indices, probabilities in parts:
            decoded = opened.tokenizer.decode(apply_temperature(probabilities, opened.temperature))
            words.update(zip(indices, decoded, strict=True))
        return [words[index] for index in range(len(words))]

    return {
        "open": open_all,
        "preprocess": preprocess,
        **{name: _each(step) for name, step in inner.items()},
        "text": read,
    }


def _each(step: Callable[[Any], Any]) -> Callable[[list[_Part]], list[_Part]]:
    return lambda parts: [(indices, step(value)) for indices, value in parts]
