"""Reader: pictures of words in, text out.

>>> from dptr import Reader
>>> Reader().read("photo.png").text  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias, overload

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dptr.inference.confidence import tempered
from dptr.inference.onnx_backend import SUFFIX, OnnxModel
from dptr.inference.views import CHANGES, changed
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.images import fit, open_image, turns
from dptr.utils.widths import STEP, by_width, fits
from dptr.weights import DEFAULT_MODEL, model_folder

Picture: TypeAlias = str | Path | bytes | Image.Image | np.ndarray


@dataclass(frozen=True)
class Prediction:
    """What was read on one picture.

    ``confidence`` is the product of the probabilities of all characters and of the end of the word, at the temperature
    that was fitted on validation crops, if there were enough: how likely the word is right, of crops like those;
    ``characters`` holds each character with its own probability. All probabilities are from 0 to 1.
    ``runaway``: the reading did not end, but repeats itself up to the model's longest word (``repeats``); it is wrong.
    ``turned``: by how many degrees clockwise the picture was turned to be read so: 0, 90 or 270.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]
    runaway: bool = False
    turned: int = 0


def repeats(text: str) -> bool:
    """Whether ``text`` ends in one to four characters three times over, as decoders that lost their place write."""
    return any(len(text) >= 3 * unit and text.endswith(3 * text[-unit:]) for unit in range(1, 5))


def counts_turned(text: str, ended: bool) -> bool:
    """Whether what was read on a turned picture can be right: one tall letter turned is a dash."""
    return len(text) > 1 and (ended or not repeats(text))


class Backend(Protocol):
    """What computes: ``dptr.inference.onnx_backend.OnnxModel``, ``dptr.inference.torch_backend.TorchModel``."""

    tokenizer: Tokenizer
    card: dict[str, Any]
    temperature: float  # of the confidence (``dptr.evaluation.calibration``)
    height: int
    width: int
    widest: int  # 0 where all crops are of ``width``

    def probabilities(self, crops: np.ndarray, /) -> np.ndarray:
        """uint8 crops (n, height, own width, 3) to probabilities (n, t, classes)."""


class Reader:
    """Reads word crops with a recogniser. The random state and the number of threads of torch are left alone.

    Args:
        model: a shipped name (``dptr models``), a folder that ``dptr finetune`` wrote, or a file that ``dptr export``
            wrote. Files are read by onnxruntime; so are, on the CPU, folders that hold their own export,
            ``model.onnx``; other folders by torch. The results are the same.
        device: ``cpu``, ``cuda``, ``cuda:1``, or with torch any device that it knows.
        batch: pictures a step; it changes speed and memory only.
        turn: read a picture taller than ``dptr.utils.images.TALL`` times its width turned by 90 degrees either way
            too, and keep the surest reading: words on spines, poles and columns run up or down.
        tta: test-time augmentation: read each picture in this many ways (``dptr.inference.views.CHANGES``), and keep
            the surest reading. It takes up to as many times as long.

    Raises:
        UserError: no such model, a damaged one, no such device, a batch below 1, or a ``tta`` outside 1 to 6.
    """

    def __init__(
        self, model: str | Path = DEFAULT_MODEL, device: str = "cpu", batch: int = 64, turn: bool = True, tta: int = 1
    ) -> None:
        if batch < 1:
            raise UserError(f"batch {batch}: below 1; pass 1 or more pictures a step")
        if not 1 <= tta <= len(CHANGES):
            raise UserError(f"tta {tta}: outside 1 to {len(CHANGES)}; pass in how many ways to read a picture")
        self.name = str(model)
        self.batch = batch
        self.turn = turn
        self.tta = tta
        self.backend = _open_model(model, device)
        self.tokenizer = self.backend.tokenizer
        self.card = self.backend.card
        self.height = self.backend.height
        self.width = self.backend.width
        self.widest = self.backend.widest

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
        """One outcome a picture, in order, as each batch finishes; a picture that cannot be opened yields its error."""
        rest = iter(sources)
        while chunk := list(islice(rest, self.batch)):
            outcomes: list[list[np.ndarray] | UserError] = [self._open(source) for source in chunk]
            views = [outcome for outcome in outcomes if not isinstance(outcome, UserError)]
            predictions = iter(self.predict_views(views))
            for outcome in outcomes:
                yield outcome if isinstance(outcome, UserError) else next(predictions)

    def fit(self, image: Image.Image) -> UInt8[np.ndarray, "height own_width 3"]:
        """An RGB picture as a crop of a size that the model reads."""
        return fit(image, self.height, self.width, self.widest)

    def views(self, image: Image.Image) -> list[UInt8[np.ndarray, "height own_width 3"]]:
        """The crops an RGB picture is read from: ``tta`` of it and, where it is tall, of it turned by 90 and 270."""
        return [
            self.fit(view)
            for way in (image, *(turns(image) if self.turn else ()))
            for view in changed(way, self.tta, self.height, self.width)
        ]

    def predict_views(self, views: Sequence[Sequence[np.ndarray]]) -> list[Prediction]:
        """Of each picture's ``views`` the surest reading; see ``counts_turned``.

        Raises:
            UserError: see ``predict_arrays``.
        """
        readings = iter(self.predict_arrays([crop for some in views for crop in some]))
        predictions = []
        for some in views:
            best, *others = islice(readings, len(some))
            for number, reading in enumerate(others, 1):
                degrees = (0, 90, 270)[number // self.tta]
                counts = counts_turned(reading.text, not reading.runaway) if degrees else not reading.runaway
                if counts and reading.confidence > best.confidence:
                    best = replace(reading, turned=degrees)
            predictions.append(best)
        return predictions

    def predict_arrays(self, crops: Sequence[np.ndarray] | UInt8[np.ndarray, "n h w 3"]) -> list[Prediction]:
        """Read RGB crops that already have a size that the model reads (``fit``); widths may differ from crop to crop.

        Raises:
            UserError: one has another size.
        """
        for crop in crops:
            if crop.dtype != np.uint8 or not fits(crop.shape, self.height, self.width, self.widest):
                wider = f" to {self.widest}, in steps of {STEP}" if self.widest else ""
                raise UserError(
                    f"crop {crop.shape} of {crop.dtype}: this model reads uint8 ({self.height}, {self.width}{wider}, "
                    "3); use Reader.fit, or Reader.read for any size"
                )
        predictions: dict[int, Prediction] = {}
        for places, batch in by_width(crops, self.batch):
            seen = self.backend.probabilities(batch)
            words = self.tokenizer.decode(tempered(seen, self.backend.temperature))
            for place, word in zip(places, words, strict=True):
                characters = tuple(zip(word.text, word.characters, strict=True))
                predictions[place] = Prediction(
                    word.text, word.confidence, characters, not word.ended and repeats(word.text)
                )
        return [predictions[place] for place in range(len(crops))]

    def _open(self, source: Picture) -> list[np.ndarray] | UserError:
        try:
            return self.views(open_image(source))
        except UserError as error:
            return error


def _open_model(model: str | Path, device: str) -> Backend:
    folder = model_folder(model)
    if folder.suffix == SUFFIX:
        return OnnxModel(folder, device)
    exported = folder / f"model{SUFFIX}"
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
