"""Split a recognizer into the steps from a picture file to text, so that each can be timed and its FLOPs counted."""

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
_Part = tuple[list[int], Any]  # indices of the crops of one size in a batch, and the output of a step for them


@dataclass(frozen=True)
class StagedRecognizer:
    """An open recognizer on the CPU.

    Attributes:
        version: version of torch or onnxruntime.
        steps: functions by name, in order. Each takes the output of the one before. The first takes a list of
            ``Source``, and the last returns a list of ``dptr.text.tokenizer.Decoded``. The steps are ``open`` and
            ``preprocess``; then ``encoder`` (with the FMU) and ``decoder`` in torch, or ``graph`` in onnxruntime; then
            ``text``. Crops of equal size are computed together.
        parameters: number of parameters; None for an exported file, which does not contain the number.
    """

    version: str
    steps: dict[str, Callable[[Any], Any]]
    parameters: int | None


def open_staged(backend: BackendName, model: str, threads: int) -> StagedRecognizer:
    """Open a recognizer. Only the requested backend is imported.

    Args:
        backend: the backend.
        model: a shipped name or a folder for ``torch``, a file for ``onnx``.
        threads: threads of the backend, >= 1. torch applies the number to the whole process.

    Raises:
        UserError: there is no such model, it is damaged, or a package of the backend is not installed.
    """
    return (_open_torch if backend == "torch" else _open_onnx)(model, threads)


def count_flops(step: Callable[[Any], Any], value: Any) -> tuple[Any, int]:
    """Return ``step(value)`` and its number of floating point operations, counted by ``torch.utils.flop_counter``.

    A multiply-add counts as 2. Matrix products, convolutions, and fused attention are counted; sums, norms,
    activations, and softmax are not.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        result = step(value)
    return result, counter.get_total_flops()


def mean_flops(staged: StagedRecognizer, sources: Sequence[Source]) -> dict[str, int]:
    """FLOPs of ``encoder`` and ``decoder`` for one crop.

    They are means over ``sources``, because long words take more decoding steps.
    """
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
    recognizer = opened.model.requires_grad_(False)  # FlopCounterMode fails on parameters that require gradients

    def encode(pixels: np.ndarray) -> Tensor:
        with torch.inference_mode():
            return recognizer.memory(torch.from_numpy(pixels))

    def decode(memory: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return recognizer.decoder.decode(memory, None).float().softmax(-1).numpy()

    steps = _add_common_steps({"encoder": encode, "decoder": decode}, opened)
    return StagedRecognizer(str(torch.__version__), steps, sum(each.numel() for each in recognizer.parameters()))


def _open_onnx(model: str, threads: int) -> StagedRecognizer:
    opened = OnnxModel(model, threads=threads)
    from onnxruntime import __version__  # OnnxModel has reported already if it is missing

    def graph(pixels: np.ndarray) -> np.ndarray:
        return opened.session.run(None, {"pixels": pixels})[0]

    return StagedRecognizer(__version__, _add_common_steps({"graph": graph}, opened), None)


def _add_common_steps(steps: dict[str, Callable[[Any], Any]], opened: Backend) -> dict[str, Callable[[Any], Any]]:
    """Add the steps before and after the network, which are the same for both backends."""
    size = opened.size

    def open_all(sources: Sequence[Source]) -> list[Image.Image]:
        return [source() for source in sources]

    def preprocess(images: Sequence[Image.Image]) -> list[_Part]:
        crops = [fit(image, size) for image in images]
        return [(indices, to_pixels(batch)) for indices, batch in group_by_size(crops, len(crops))]

    def decode_text(parts: list[_Part]) -> list[Decoded]:
        words: dict[int, Decoded] = {}
        for indices, probabilities in parts:
            decoded = opened.tokenizer.decode(apply_temperature(probabilities, opened.temperature))
            words.update(zip(indices, decoded, strict=True))
        return [words[index] for index in range(len(words))]

    return {
        "open": open_all,
        "preprocess": preprocess,
        **{name: _for_each_part(step) for name, step in steps.items()},
        "text": decode_text,
    }


def _for_each_part(step: Callable[[Any], Any]) -> Callable[[list[_Part]], list[_Part]]:
    return lambda parts: [(indices, step(value)) for indices, value in parts]
