"""What a reader asks of the program that computes a model, and which of them opens which model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dptr.inference.onnx_backend import SUFFIX, OnnxModel
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.sizes import Sizes
from dptr.weights import model_folder


class Backend(Protocol):
    """An open recognizer: ``dptr.inference.onnx_backend.OnnxModel`` or ``dptr.inference.torch_backend.TorchModel``.

    A backend computes; it neither opens pictures nor decodes words. A new one needs these attributes and one method.

    Attributes:
        tokenizer: turns the probabilities into words.
        card: what is known of the model: its name, its training data, its measured accuracy.
        temperature: of the confidence, > 0 (``dptr.evaluation.calibration``). ``probabilities`` does not apply it.
        size: of the crops that it reads.
    """

    tokenizer: Tokenizer
    card: dict[str, Any]
    temperature: float
    size: Sizes

    def probabilities(self, crops: np.ndarray, /) -> np.ndarray:
        """Recognize crops of one size.

        Args:
            crops: uint8 RGB, 0 to 255, of shape (n, height, width, 3).

        Returns:
            float32 (n, t, classes): for each position of the word the probabilities of its end (class 0) and of the
            charset's characters. t is ``max_length`` + 1 or less; rows after a word's end mean nothing.
        """


def open_backend(model: str | Path, device: str = "cpu") -> Backend:
    """Open a model with the backend that its form asks for.

    Args:
        model: a shipped name, a folder that ``dptr finetune`` wrote, or a file that ``dptr export`` wrote. onnxruntime
            opens files and, on the CPU, folders that hold their own export, ``model.onnx``; torch opens other folders.
        device: as ``dptr.inference.reader.Reader`` takes it.

    Raises:
        UserError: no such model, a damaged one, no such device, or torch is needed and not installed.
    """
    path = model_folder(model)
    if path.suffix == SUFFIX:
        return OnnxModel(path, device)
    exported = path / f"model{SUFFIX}"
    if device == "cpu" and exported.is_file():
        return OnnxModel(exported)
    try:
        from dptr.inference.torch_backend import TorchModel
    except ModuleNotFoundError as error:
        raise UserError(
            f"model '{model}': {error.name} is not installed; pip install 'dptr[train]', or pass an {SUFFIX} file that "
            "'dptr export' wrote"
        ) from error
    return TorchModel(model, device)
