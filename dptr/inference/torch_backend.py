"""The torch backend: a checkpoint folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from dptr.data.augment import to_pixels
from dptr.models.checkpoint import load_recognizer
from dptr.utils.errors import UserError


class TorchModel:
    """A recogniser in a checkpoint folder, in eval mode.

    Raises:
        UserError: no such model, a damaged one, or no such device.
    """

    def __init__(self, model: str | Path, device: str = "cpu") -> None:
        self.device = _device(device)
        recognizer = load_recognizer(model)
        self.tokenizer = recognizer.tokenizer
        self.card = recognizer.card
        self.temperature = recognizer.temperature
        self.height = recognizer.config.encoder.height
        self.width = recognizer.config.encoder.width
        self.widest = recognizer.config.encoder.widest
        self.model = recognizer.model.to(self.device).eval()

    def probabilities(self, crops: UInt8[np.ndarray, "n height w 3"]) -> Float32[np.ndarray, "n t classes"]:
        """Probabilities of EOS and the characters by position."""
        with torch.inference_mode():
            return self.model(to_pixels(crops, self.device)).float().softmax(-1).cpu().numpy()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        raise UserError(f"device '{name}': {str(error).splitlines()[0]}; use 'cpu' or one that torch sees") from error
    return device
