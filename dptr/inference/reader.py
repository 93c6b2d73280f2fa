"""Reader: pictures of words in, text out.

>>> from dptr import Reader
>>> Reader().read("photo.png").text  # doctest: +SKIP
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dptr.inference.backend import open_backend
from dptr.inference.confidence import apply_temperature
from dptr.inference.prediction import Prediction, has_repeated_ending
from dptr.inference.views import CHANGES, choose_view, make_views, read_by_size, view_orientation
from dptr.utils.errors import UserError
from dptr.utils.images import fit, open_image
from dptr.weights import DEFAULT_MODEL

Picture: TypeAlias = str | Path | bytes | Image.Image | np.ndarray


class Reader:
    """Reads word crops with a recognizer. It changes neither torch's random state nor its number of threads.

    Args:
        model: a shipped name (``dptr models``), a folder that ``dptr finetune`` wrote, or a file that ``dptr export``
            wrote. onnxruntime reads files and, on the CPU, folders that hold their own export, ``model.onnx``; torch
            reads other folders. The results are the same.
        device: ``cpu``, ``cuda``, ``cuda:1``, or with torch any device that it knows.
        batch_size: how many pictures to read at once, >= 1; it changes speed and memory only.
        turn: whether to read a picture taller than ``dptr.utils.images.TALL_ASPECT`` times its width also turned by 90
            degrees either way, and to keep the most confident reading: words on spines, poles and columns run up or
            down.
        tta: test-time augmentation: read so many views of each picture, 1 to 6 (``dptr.inference.views.CHANGES``), and
            keep the most confident reading. It takes up to as many times as long.
        batch: the former name of ``batch_size``; it still works, with a warning.

    Attributes:
        name: ``model`` as it was passed.
        backend: the open model (``dptr.inference.backend.Backend``).
        tokenizer, card, size: those of the backend.

    Raises:
        UserError: no such model, a damaged one, no such device, a ``batch_size`` below 1, or a ``tta`` outside 1 to 6.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: str = "cpu",
        batch_size: int = 64,
        turn: bool = True,
        tta: int = 1,
        *,
        batch: int | None = None,
    ) -> None:
        if batch is not None:
            warnings.warn("Reader(batch=...) is now Reader(batch_size=...)", DeprecationWarning, stacklevel=2)
            batch_size = batch
        if batch_size < 1:
            raise UserError(f"batch_size {batch_size}: below 1; pass 1 or more pictures to read at once")
        if not 1 <= tta <= len(CHANGES):
            raise UserError(f"tta {tta}: outside 1 to {len(CHANGES)}; pass in how many ways to read a picture")
        self.name = str(model)
        self.batch_size = batch_size
        self.turn = turn
        self.tta = tta
        self.backend = open_backend(model, device)
        self.tokenizer = self.backend.tokenizer
        self.card = self.backend.card
        self.size = self.backend.size

    @overload
    def read(self, source: Picture) -> Prediction: ...
    @overload
    def read(self, source: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...

    def read(self, source: Picture | list[Any] | tuple[Any, ...]) -> Prediction | list[Prediction]:
        """Read one picture, or a list of them.

        A picture is whatever ``dptr.utils.images.open_image`` takes: a path, the bytes of a file, a PIL image or an
        array ``(h, w)`` or ``(h, w, 1 to 4)``. An array of four dimensions is a list of pictures.

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
        """Yield one outcome a picture, in order, as each batch finishes; for one that cannot be opened its error."""
        rest = iter(sources)
        while batch := list(islice(rest, self.batch_size)):
            opened: list[list[np.ndarray] | UserError] = [self._open(source) for source in batch]
            predictions = iter(self.predict_views([views for views in opened if not isinstance(views, UserError)]))
            for views in opened:
                yield views if isinstance(views, UserError) else next(predictions)

    def fit(self, image: Image.Image) -> UInt8[np.ndarray, "own_height own_width 3"]:
        """Resize an RGB picture to a crop that the model reads."""
        return fit(image, self.size)

    def views(self, image: Image.Image) -> list[UInt8[np.ndarray, "own_height own_width 3"]]:
        """The crops that an RGB picture is read from: ``tta`` of it and, where it is tall, of each way to turn it."""
        return make_views(image, self.tta, self.turn, self.size)

    def predict_views(self, views: Sequence[Sequence[np.ndarray]]) -> list[Prediction]:
        """Read the views of each picture, and keep the reading that ``dptr.inference.views.choose_view`` chooses.

        Raises:
            UserError: see ``predict_arrays``.
        """
        readings = iter(self.predict_arrays([crop for crops in views for crop in crops]))
        predictions = []
        for crops in views:
            candidates = list(islice(readings, len(crops)))
            view = choose_view(candidates, self.tta)
            predictions.append(replace(candidates[view], turned=view_orientation(view, self.tta)))
        return predictions

    def predict_arrays(self, crops: Sequence[np.ndarray] | UInt8[np.ndarray, "n h w 3"]) -> list[Prediction]:
        """Read RGB crops that already have a size that the model reads (``fit``), which may differ from crop to crop.

        Raises:
            UserError: a crop has another size.
        """
        for crop in crops:
            if crop.dtype != np.uint8 or not self.size.holds(crop.shape):
                raise UserError(
                    f"crop {crop.shape} of {crop.dtype}: this model reads uint8 RGB of {self.size} pixels; use "
                    "Reader.fit, or Reader.read for any size"
                )
        return read_by_size(crops, self.batch_size, self._predict)

    def _predict(self, crops: UInt8[np.ndarray, "n h w 3"]) -> list[Prediction]:
        probabilities = apply_temperature(self.backend.probabilities(crops), self.backend.temperature)
        return [
            Prediction(
                text=word.text,
                confidence=word.confidence,
                characters=tuple(zip(word.text, word.characters, strict=True)),
                runaway=not word.ended and has_repeated_ending(word.text),
            )
            for word in self.tokenizer.decode(probabilities)
        ]

    def _open(self, source: Picture) -> list[np.ndarray] | UserError:
        try:
            return self.views(open_image(source))
        except UserError as error:
            return error
