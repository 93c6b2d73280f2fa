"""Reader: pictures of words in, text out.

>>> from dptr import Reader
>>> Reader().read("photo.png").text  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from dptr import DEFAULT_MODEL
from dptr.checkpoint import load_recognizer
from dptr.data.transforms import to_pixels
from dptr.errors import UserError
from dptr.images import open_image, to_array

Picture: TypeAlias = str | Path | bytes | Image.Image | np.ndarray


@dataclass(frozen=True)
class Prediction:
    """What was read on one picture.

    ``confidence`` is the product of the probabilities of all characters and of the end of the word;
    ``characters`` holds each character with its own probability. All probabilities are from 0 to 1.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]


class Reader:
    """Reads word crops with a recogniser. The random state and the number of threads of torch are left alone.

    Args:
        model: a shipped name (``dptr models``) or a folder that ``dptr finetune`` wrote.
        device: a torch device.
        batch: pictures a step; it changes speed and memory only.

    Raises:
        UserError: no such model, a damaged one, or no such device.
    """

    def __init__(self, model: str | Path = DEFAULT_MODEL, device: str = "cpu", batch: int = 64) -> None:
        if batch < 1:
            raise UserError(f"batch {batch}: below 1; pass 1 or more pictures a step")
        self.name = str(model)
        self.device = _device(device)
        self.batch = batch
        recognizer = load_recognizer(model)
        self.tokenizer = recognizer.tokenizer
        self.card = recognizer.card
        self.height = recognizer.config.encoder.height
        self.width = recognizer.config.encoder.width
        self.model = recognizer.model.to(self.device).eval()

    @overload
    def read(self, source: Picture) -> Prediction: ...
    @overload
    def read(self, source: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...

    def read(self, source: Picture | list[Any] | tuple[Any, ...]) -> Prediction | list[Prediction]:
        """Read one picture, or a list of them.

        A picture is whatever ``dptr.images.open_image`` takes: a path, the bytes of a file, a PIL image or an array
        ``(h, w)`` or ``(h, w, 1 to 4)``. An array of four dimensions is a list of pictures.

        Raises:
            UserError: a picture cannot be opened; ``stream`` goes on with the others.
        """
        if isinstance(source, np.ndarray) and source.ndim == 4:
            source = list(source)
        predictions = []
        for outcome in self.stream(source if isinstance(source, list | tuple) else [source]):
            if isinstance(outcome, UserError):
                raise outcome
            predictions.append(outcome)
        return predictions if isinstance(source, list | tuple) else predictions[0]

    def stream(self, sources: Iterable[Picture]) -> Iterator[Prediction | UserError]:
        """One outcome a picture, in order, as each batch finishes; a picture that cannot be opened yields its error."""
        rest = iter(sources)
        while chunk := list(islice(rest, self.batch)):
            outcomes: list[np.ndarray | UserError] = [self._open(source) for source in chunk]
            crops = [outcome for outcome in outcomes if not isinstance(outcome, UserError)]
            predictions = iter(self.predict_arrays(np.stack(crops)) if crops else [])
            for outcome in outcomes:
                yield outcome if isinstance(outcome, UserError) else next(predictions)

    def predict_arrays(self, crops: UInt8[np.ndarray, "n height width 3"]) -> list[Prediction]:
        """Read RGB crops that already have the model's size (``height``, ``width``).

        Raises:
            UserError: they have another size.
        """
        if crops.dtype != np.uint8 or crops.shape[1:] != (self.height, self.width, 3):
            raise UserError(
                f"crops {crops.shape} of {crops.dtype}: this model reads uint8 (n, {self.height}, {self.width}, 3); "
                "use dptr.images.to_array, or Reader.read for any size"
            )
        predictions = []
        for start in range(0, len(crops), self.batch):
            with torch.inference_mode():
                logits = self.model(to_pixels(crops[start : start + self.batch]).to(self.device))
                probabilities = logits.float().softmax(-1).cpu().numpy()
            for word in self.tokenizer.decode(probabilities):
                characters = tuple(zip(word.text, word.characters, strict=True))
                predictions.append(Prediction(word.text, word.confidence, characters))
        return predictions

    def _open(self, source: Picture) -> np.ndarray | UserError:
        try:
            return to_array(open_image(source), self.height, self.width)
        except UserError as error:
            return error


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        raise UserError(f"device '{name}': {str(error).splitlines()[0]}; use 'cpu' or one that torch sees") from error
    return device
