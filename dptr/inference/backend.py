"""The interface between a reader and the program that runs a model (onnxruntime or torch), and the choice of one."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from dptr.inference.beam import Hypotheses, Rules
from dptr.inference.locate import check_model
from dptr.inference.onnx_backend import SUFFIX, OnnxModel
from dptr.inference.providers import PACKAGES, PROVIDERS, device_kind, has_provider, hidden_logs
from dptr.inference.rescore import find_ngrams
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.extras import describe_install
from dptr.utils.files import DIGITS, digest
from dptr.utils.sizes import Sizes
from dptr.weights import SHIPPED, model_file

Searches = Literal["prefixes", "paths", "positions"]


class Backend(Protocol):
    """An open recognizer: ``dptr.inference.onnx_backend.OnnxModel`` or ``dptr.inference.torch_backend.TorchModel``.

    A backend neither opens pictures nor decodes words. A new one needs these attributes and ``probabilities``; if
    ``searches`` is ``paths``, also ``paths`` and ``probabilities_and_paths``; if it is ``prefixes``, also ``search``.

    Attributes:
        device: such as ``cpu`` or ``cuda:1``.
        tokenizer: decodes probabilities to words.
        card: the model card: name, training data, measured accuracy.
        temperature: of the confidence, > 0 (``dptr.evaluation.calibration``). ``probabilities`` does not apply it.
        size: of the crops that the model reads.
        searches: how constrained reading works (``dptr.inference.constraint``): ``prefixes``: beam search during
            decoding (``search``); ``paths``: along the paths of a CTC network; ``positions``: from ``probabilities``.
    """

    device: str
    tokenizer: Tokenizer
    card: dict[str, Any]
    temperature: float
    size: Sizes
    searches: Searches

    def probabilities(self, crops: np.ndarray, /) -> np.ndarray:
        """Recognize crops of one size.

        Args:
            crops: uint8 RGB, 0 to 255, of shape (n, height, width, 3).

        Returns:
            float32 (n, t, classes): for each position of the word, the probabilities of its end (class 0) and of the
            charset's characters. t is at most ``max_length`` + 1; rows after a word's end are meaningless.
        """

    def paths(self, crops: np.ndarray, /) -> np.ndarray:
        """Label the positions of a CTC network.

        Returns:
            float32 (n, t, classes): for each position of the path, the probabilities of the blank (class 0) and of the
            charset's characters; t is 2 ``max_length`` - 1, or the number of image tokens.
        """

    def probabilities_and_paths(self, crops: np.ndarray, /) -> tuple[np.ndarray, np.ndarray]:
        """The results of ``probabilities`` and ``paths`` from one run of a CTC network."""

    def search(self, crops: np.ndarray, rules: Rules, width: int, /) -> Hypotheses:
        """Read the words of a language, by beam search.

        Args:
            rules: of the language.
            width: prefixes to keep, >= 1.
        """


def open_backend(model: str | Path, device: str = "cpu") -> Backend:
    """Open a model with onnxruntime or torch.

    onnxruntime opens files that ``dptr export`` wrote, and folders with an export, ``model.onnx``. torch opens other
    folders, and folders for devices that onnxruntime does not have: ``cuda`` without onnxruntime-gpu, ``mps``, and so
    on.

    Args:
        model: a shipped name, a folder that ``dptr finetune`` wrote, or a file that ``dptr export`` wrote.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``openvino``, ``auto``, or any that torch knows. ``auto`` is ``cuda`` if
            the model opens and reads a blank crop there, otherwise ``cpu``.

    Raises:
        UserError: no such model; a damaged one; no such device; torch is needed and not installed.
    """
    check_model(model)
    if device == "auto":
        return _open_best(model)
    exported = _exported(model)
    kind = device_kind(device)
    # For OpenVINO, let onnxruntime name the remedy if it is missing: torch has no such device.
    if exported == Path(model) or (exported.is_file() and kind and (kind == "openvino" or has_provider(kind))):
        opened = OnnxModel(exported, device)
        weights = Path(model) / "model.safetensors"
        both = exported != Path(model) and str(model) not in SHIPPED and weights.is_file()
        if both and opened.metadata.get("weights") != digest(weights):
            raise UserError(
                f"model '{model}': its {exported.name} was exported from other weights than its {weights.name}; "
                "export it anew, or remove one of the two"
            )
        return opened
    if kind == "openvino":
        raise UserError(
            f"device 'openvino': it reads exported files; type: dptr export --model {model} --out FILE{SUFFIX}"
        )
    try:
        from dptr.inference.torch_backend import TorchModel
    except ModuleNotFoundError as error:
        if exported.is_file():
            remedy = f"pip install {PACKAGES['cuda']}" if kind == "cuda" else f"pass one of {', '.join(PROVIDERS)}"
            raise UserError(
                f"device '{device}': this onnxruntime does not have it, and {error.name} is not installed; {remedy}"
            ) from error
        raise UserError(
            f"model '{model}': {error.name} is not installed; pass an {SUFFIX} file that 'dptr export' wrote, or "
            f"{describe_install('train')}"
        ) from error
    return TorchModel(model, device)


def digest_model(model: str | Path) -> str:
    """The digest of the file that is opened on the CPU, and of the n-grams beside it, which identifies a model.

    Raises:
        UserError: no such model.
    """
    check_model(model)
    exported = _exported(model)
    file = exported if exported.is_file() else model_file(model, "model.safetensors")
    try:
        ngrams = find_ngrams(model)
        if not ngrams.is_file():
            return digest(file)
        both = f"{digest(file)}\n{digest(ngrams)}"
        return hashlib.sha256(both.encode()).hexdigest()[:DIGITS]
    except OSError as error:
        raise UserError(f"model '{model}': {error.strerror}; check the path") from error


def _exported(model: str | Path) -> Path:
    """The path of the file that onnxruntime would read; it need not exist."""
    return Path(model) if Path(model).suffix == SUFFIX else model_file(model, f"model{SUFFIX}")


def _open_best(model: str | Path) -> Backend:
    """Open a model on ``cuda`` if that works, otherwise on ``cpu``.

    For a folder that onnxruntime can read, torch's GPU is not tried, since importing torch takes seconds.
    """
    by_torch = not _exported(model).is_file()
    if by_torch or has_provider("cuda"):
        # Drivers raise errors of any class; then the CPU is used, whose errors are raised.
        with suppress(Exception), nullcontext() if by_torch else hidden_logs():
            backend = open_backend(model, "cuda")
            backend.probabilities(np.zeros((1, backend.size.height, backend.size.width, 3), np.uint8))
            return backend
    return open_backend(model, "cpu")
