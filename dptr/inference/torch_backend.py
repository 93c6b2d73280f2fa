"""The torch backend, which opens a checkpoint folder; and functions from crops and logits to probabilities."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from dptr.data.augment import to_pixels
from dptr.inference.beam import Hypotheses, Rules
from dptr.models.checkpoint import load_recognizer
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.ctc import CTC, collapse
from dptr.models.decoders.search import Guide, search
from dptr.models.recognizer import Recognizer
from dptr.utils.errors import UserError
from dptr.utils.sizes import CropSizes, Sizes


class TorchModel:
    """A recognizer in a checkpoint folder, in eval mode; a ``dptr.inference.backend.Backend``.

    Args:
        model: a shipped name or a folder that training wrote.
        device: any that torch knows; also an attribute.

    Raises:
        UserError: no such model, a damaged one, or no such device.
    """

    def __init__(self, model: str | Path, device: str = "cpu") -> None:
        self.device = device
        self._process = os.getpid()
        self._device = _open_device(device)
        recognizer = load_recognizer(model)
        self.tokenizer = recognizer.tokenizer
        self.card = recognizer.card
        self.temperature = recognizer.temperature
        self.size: Sizes = CropSizes(**recognizer.config.encoder.crop_size.model_dump())
        self.model = recognizer.model.to(self._device).eval()
        decoder = self.model.decoder
        self.searches: Literal["prefixes", "paths", "positions"] = "positions"
        if isinstance(decoder, CTC):
            self.searches = "paths"
        elif isinstance(decoder, AutoregressiveDecoder) and decoder.autoregressive:
            self.searches = "prefixes"

    def probabilities(self, crops: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n t classes"]:
        """Recognize crops of one size: see ``dptr.inference.backend.Backend.probabilities``."""
        self._check_process()
        with torch.inference_mode():
            return crop_probabilities(self.model, crops, self._device)

    def paths(self, crops: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n t classes"]:
        """Label the positions of a CTC network: see ``dptr.inference.backend.Backend.paths``."""
        decoder = self.model.decoder
        assert isinstance(decoder, CTC)
        self._check_process()
        with torch.inference_mode():
            memory = self.model.memory(to_pixels(crops, self._device))
            return to_probabilities(decoder.predict(memory, None))

    def probabilities_and_paths(
        self, crops: UInt8[np.ndarray, "n h w 3"]
    ) -> tuple[Float32[np.ndarray, "n t classes"], Float32[np.ndarray, "n positions classes"]]:
        """``probabilities`` and ``paths``: see ``dptr.inference.backend.Backend.probabilities_and_paths``."""
        self._check_process()
        with torch.inference_mode():
            both = crop_probabilities_and_paths(self.model, crops, self._device)
        assert isinstance(both, tuple)
        return both

    def search(self, crops: UInt8[np.ndarray, "n h w 3"], rules: Rules, width: int) -> Hypotheses:
        """Read the words of a language: see ``dptr.inference.backend.Backend.search``."""
        decoder = self.model.decoder
        assert isinstance(decoder, AutoregressiveDecoder)
        self._check_process()
        with torch.inference_mode():
            guide = Guide(*(torch.as_tensor(each, device=self._device) for each in rules.arrays()))
            beam = search(decoder, self.model.memory(to_pixels(crops, self._device)), guide, width)
            ended = beam.states == len(guide.next) - 1
            found = beam.symbols, beam.chances, beam.scores, ended, beam.left, beam.cut
            return Hypotheses(*(each.cpu().numpy() for each in found))

    def _check_process(self) -> None:
        """Refuse to compute after a fork: OpenMP's threads do not survive it, and torch would hang.

        Raises:
            UserError: another process opened the model, and torch uses several threads.
        """
        if self._process != os.getpid() and torch.get_num_threads() > 1:
            raise UserError(
                "a model that torch computes, opened before this process was forked: it would hang; open it in this "
                "process, or start processes by 'spawn'"
            )


def crop_probabilities(
    model: nn.Module, crops: UInt8[np.ndarray, "n h w 3"], device: torch.device
) -> Float32[np.ndarray, "n t classes"]:
    """Probabilities by character of crops, from a model on ``device`` in its present mode; gradients must be off."""
    return to_probabilities(model(to_pixels(crops, device)))


def crop_probabilities_and_paths(
    model: Recognizer, crops: UInt8[np.ndarray, "n h w 3"], device: torch.device
) -> Float32[np.ndarray, "n t classes"] | tuple[Float32[np.ndarray, "n t c"], Float32[np.ndarray, "n p c"]]:
    """``crop_probabilities``; for a CTC network, also the probabilities by position."""
    decoder = model.decoder
    if not isinstance(decoder, CTC):
        return crop_probabilities(model, crops, device)
    path = decoder.predict(model.memory(to_pixels(crops, device)), None)
    return to_probabilities(collapse(path, decoder.max_length + 1)), to_probabilities(path)


def to_probabilities(logits: Float[Tensor, "n t classes"]) -> Float32[np.ndarray, "n t classes"]:
    """The softmax over the classes, in float32 on the CPU."""
    return logits.float().softmax(-1).cpu().numpy()


def _open_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        raise UserError(
            f"device '{name}': {str(error).splitlines()[0].partition('. ')[0]}; use 'cpu' or one that torch sees"
        ) from error
    return device
