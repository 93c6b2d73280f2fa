"""Reader: reads pictures of words, and returns their text.

>>> from dptr import Reader
>>> Reader().read("crop.png").text  # doctest: +SKIP
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, cast, overload

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dptr.inference.backend import Backend, open_backend
from dptr.inference.constraint import Lexicon
from dptr.inference.decoding import make_decoding
from dptr.inference.prediction import Prediction, note_frames, note_picture
from dptr.inference.rescore import find_ngrams, open_rescoring
from dptr.inference.views import CHANGES, UPSIDE_DOWN, make_views, read_by_size, read_views
from dptr.text.charset import Charset
from dptr.utils.errors import UserError
from dptr.utils.images import FRAMES, Picture, open_image
from dptr.utils.isolation import Isolation
from dptr.utils.resize import fit
from dptr.weights import AUTO, DEFAULT_MODEL


@dataclass(frozen=True)
class ReaderOptions:
    """The settings of a reader, without the recognizer; the fields are arguments of ``Reader``.

    Raises:
        UserError: ``batch_size`` is below 1, or ``tta`` is outside 1 to 6.
    """

    device: str = "cpu"
    batch_size: int = 64
    turn: bool = True
    tta: int = 1
    charset: str | Charset = ""
    pattern: str = ""
    lexicon: Lexicon = None
    isolate: bool = False
    rescore: bool = True

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch_size {self.batch_size}: below 1; pass 1 or more pictures to read at once")
        if not 1 <= self.tta <= len(CHANGES):
            raise UserError(f"tta {self.tta}: outside 1 to {len(CHANGES)}; pass in how many ways to read a picture")
        if not (self.lexicon is None or isinstance(self.lexicon, str | Path | tuple)):
            object.__setattr__(self, "lexicon", tuple(self.lexicon))


PLAIN = ReaderOptions()


@dataclass(frozen=True, eq=False)
class Prepared:
    """An opened picture, cut into the crops to read.

    Attributes:
        views: see ``Reader.views``.
        width, height: of the picture, in pixels.
        frames: the number of frames in its file.
    """

    views: list[UInt8[np.ndarray, "own_height own_width 3"]]
    width: int
    height: int
    frames: int = 1


class Reader:
    """Reads word crops with a recognizer. It changes neither torch's random state nor its number of threads.

    A reader is called like a function: ``reader(picture)``. It can be pickled: only the model's name and the settings
    travel, and the other process opens the model itself, once.

    Args:
        model: a shipped name (``dptr models``), a folder that ``dptr finetune`` wrote, or a file that ``dptr export``
            wrote. onnxruntime reads files and, on the CPU, folders that contain their own export, ``model.onnx``; torch
            reads other folders. The results are the same.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``openvino``, ``auto`` (``cuda`` if it works, otherwise ``cpu``), or with
            torch any device that it knows. ``cuda`` needs onnxruntime-gpu or torch, ``openvino`` needs
            onnxruntime-openvino.
        batch_size: the number of pictures to read at once, >= 1; it affects only speed and memory.
        turn: whether to turn pictures, since words on spines, poles, and columns run up or down. A picture taller than
            ``dptr.utils.resize.TALL_ASPECT`` times its width is also read turned by 90 degrees either way, and the most
            confident reading is kept. Another picture is also read upside down if its reading is doubtful; that reading
            is kept if it is much more confident (``dptr.inference.views.read_views``).
        tta: test-time augmentation: the number of views to read of each picture, 1 to 6
            (``dptr.inference.views.CHANGES``); the most confident reading is kept. Reading takes up to as many times as
            long.
        charset: read only characters of this set: a named one (``10`` means the digits), a language, a file
            (``dptr.text.charset.resolve_charset``), or the set itself; empty = all that the model knows.
        pattern: read only words that match it: a name (``dptr.text.named_patterns.NAMED_PATTERNS``) or a regular
            expression for whole words (``dptr.text.regular``); empty = any.
        lexicon: read only these words: a file with one word per line, or the words; None = any.
        isolate: whether another process decodes files, with limits on its memory and time (``dptr.utils.isolation``),
            for files from untrusted sources.
        rescore: whether doubtful readings are compared with the spelling of words (``dptr.inference.rescore``), where
            the recognizer has n-grams (``ngrams.npz`` in its folder), as ``dptr-latin`` does. ``charset``,
            ``pattern``, and ``lexicon`` turn this off.
        batch: the former name of ``batch_size``; it still works, with a warning.

    Attributes:
        name: ``model`` as it was passed.
        options: the other arguments.
        device: the device of the model; for ``auto``, the chosen one.
        backend: the open model (``dptr.inference.backend.Backend``).
        tokenizer, card, size: those of the backend.

    Raises:
        UserError: there is no such model or device, the model is damaged, ``batch_size`` is below 1, ``tta`` is outside
            1 to 6, or ``charset`` is unknown, or has no character that the model reads; or see
            ``dptr.inference.decoding.make_decoding``.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: str = "cpu",
        batch_size: int = 64,
        turn: bool = True,
        tta: int = 1,
        charset: str | Charset = "",
        pattern: str = "",
        lexicon: Lexicon = None,
        isolate: bool = False,
        rescore: bool = True,
        *,
        batch: int | None = None,
    ) -> None:
        if batch is not None:
            warnings.warn("Reader(batch=...) is now Reader(batch_size=...)", DeprecationWarning, stacklevel=2)
            batch_size = batch
        if model == AUTO:
            raise UserError(f"model '{AUTO}': Reader reads with one recognizer; use AutoReader, or OCR('{AUTO}')")
        self._start(
            str(model),
            ReaderOptions(device, batch_size, turn, tta, charset, pattern, lexicon, isolate, rescore),
            open_backend,
        )

    @classmethod
    def of(cls, model: str | Path, options: ReaderOptions = PLAIN) -> Self:
        """The same as ``Reader(model, ...)``, with all other arguments in one object."""
        reader = cls.__new__(cls)
        reader._start(str(model), options, open_backend)
        return reader

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = DEFAULT_MODEL,
        device: str = "cpu",
        batch_size: int = 64,
        turn: bool = True,
        tta: int = 1,
        charset: str | Charset = "",
        pattern: str = "",
        lexicon: Lexicon = None,
        isolate: bool = False,
        rescore: bool = True,
    ) -> Self:
        """The same as ``Reader(name_or_path, ...)``; nothing is downloaded."""
        return cls(name_or_path, device, batch_size, turn, tta, charset, pattern, lexicon, isolate, rescore)

    def __repr__(self) -> str:
        options = self.options
        settings = [repr(self.name), f"device={self.device!r}", f"batch_size={options.batch_size}"]
        settings += [] if options.turn else ["turn=False"]
        settings += [f"tta={options.tta}"] if options.tta > 1 else []
        settings += ["isolate=True"] if options.isolate else []
        settings += [] if options.rescore else ["rescore=False"]
        named = options.charset if isinstance(options.charset, str) else options.charset.name
        settings += [f"charset={named!r}"] if named else []
        settings += [f"pattern={options.pattern!r}"] if options.pattern else []
        if isinstance(options.lexicon, tuple):
            settings.append(f"lexicon=({len(options.lexicon)} words)")
        elif options.lexicon is not None:
            settings.append(f"lexicon={str(options.lexicon)!r}")
        return f"{type(self).__name__}({', '.join(settings)})"

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._start(state["name"], state["options"], _reopen)

    # A path is also an iterable of strings, and an array one of arrays. Type checkers take the first matching overload.
    @overload
    def read(self, source: Picture, errors: Literal["raise"] = "raise") -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def read(self, source: Picture, errors: Literal["return"]) -> Prediction | UserError: ...  # type: ignore[overload-overlap]
    @overload
    def read(self, source: Iterable[Picture], errors: Literal["raise"] = "raise") -> list[Prediction]: ...
    @overload
    def read(self, source: Iterable[Picture], errors: Literal["return"]) -> list[Prediction | UserError]: ...

    def read(self, source: Picture | Iterable[Picture], errors: Literal["raise", "return"] = "raise") -> Any:
        """Read one picture, or several.

        Args:
            source: a picture in any form that ``dptr.utils.images.open_image`` takes: a path, the bytes of a file, an
                open binary file, a PIL image, or an array ``(h, w)`` or ``(h, w, 1 to 4)``. Any other iterable is
                several pictures: a list, a generator, or an array of four dimensions. Type checkers take any array for
                one picture; pass them ``list(array)``.
            errors: what to do with a picture that cannot be opened: ``raise`` its error, or ``return`` the error in
                place of the prediction and read the other pictures.

        Returns:
            A prediction for one picture; for several, a list of predictions in the same order.

        Raises:
            UserError: a picture cannot be opened and ``errors`` is ``raise``; or ``errors`` has another value.
        """
        if errors not in ("raise", "return"):
            raise UserError(f"errors {errors!r}: pass 'raise' or 'return'")
        single = is_picture(source)
        outcomes: list[Prediction | UserError] = []
        for outcome in self.stream(cast(Iterable[Picture], [source] if single else source)):
            if isinstance(outcome, UserError) and errors == "raise":
                raise outcome
            outcomes.append(outcome)
        return outcomes[0] if single else outcomes

    __call__ = read

    def stream(self, sources: Iterable[Picture]) -> Iterator[Prediction | UserError]:
        """Yield a prediction or an error for each picture, in order, as each batch finishes.

        Raises:
            UserError: ``sources`` is a single picture.
        """
        if is_picture(sources):
            raise UserError(f"{sources!r}: one picture; pass an iterable of pictures, or use Reader.read")
        return self._stream(iter(sources))

    def _stream(self, rest: Iterator[Picture]) -> Iterator[Prediction | UserError]:
        while batch := list(islice(rest, self.batch_size)):
            opened = [self._open(source) for source in batch]
            predictions = iter(self.read_prepared([each for each in opened if isinstance(each, Prepared)]))
            for each in opened:
                yield each if isinstance(each, UserError) else next(predictions)

    def least_confidence(self, precision: float) -> float:
        """The confidence at and above which at least a share ``precision`` of the readings is right, 0 to 1.

        It was measured on the validation crops of the model. It holds for similar crops, read with all characters of
        the model and without ``tta``. If ``precision`` was not measured, the next higher share counts.

        Raises:
            UserError: nothing was measured for this model, or no share as high as ``precision`` was reached.
        """
        thresholds = {float(name): pair for name, pair in self.card.get("thresholds", {}).items() if name != "n"}
        if not thresholds:
            raise UserError(
                f"model '{self.name}': its card names no confidence by precision ('dptr finetune' measures them on 100 "
                "validation crops or more, and files that compute in 8 bits have none); pass a confidence of your own, "
                "such as the one that 'dptr eval' finds on your crops"
            )
        shares = [share for share in thresholds if share >= precision]
        if not shares:
            raise UserError(
                f"precision {precision:g}: the highest that model '{self.name}' reached on its validation crops is "
                f"{max(thresholds):g}; pass at most that, or a confidence of your own"
            )
        return float(thresholds[min(shares)][0])

    def fit(self, image: Image.Image) -> UInt8[np.ndarray, "own_height own_width 3"]:
        """Resize an RGB picture to a crop in a size that the model reads."""
        return fit(image, self.size)

    def views(self, image: Image.Image) -> list[UInt8[np.ndarray, "own_height own_width 3"]]:
        """The crops to read of an RGB picture: ``tta`` views, and, if it is tall, as many for each way to turn it."""
        return make_views(image, self.tta, self.turn, self.size)

    def prepare(self, source: Picture, name: str = "") -> Prepared:
        """Open a picture, and cut it into the crops to read.

        Args:
            source, name: as for ``dptr.utils.images.open_image``.

        Raises:
            UserError: the picture cannot be opened.
        """
        return self.prepare_image(self._open_image(source, name))

    def prepare_image(self, image: Image.Image) -> Prepared:
        """Cut a picture from ``dptr.utils.images.open_image`` into the crops to read."""
        return Prepared(self.views(image), *image.size, image.info.get(FRAMES, 1))

    def read_prepared(self, pictures: Sequence[Prepared]) -> list[Prediction]:
        """Read pictures that ``prepare`` has opened; the results are those of ``read``."""
        readings = self.predict_views([picture.views for picture in pictures])
        return [self._note(*each) for each in zip(readings, pictures, strict=True)]

    def expect(self, charset: str | Charset = "", pattern: str = "", lexicon: Lexicon = None) -> Self:
        """Another reader with the same open model that reads only the expected words; the arguments are as for the
        class.

        Raises:
            UserError: see the class.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._set_options(replace(self.options, charset=charset, pattern=pattern, lexicon=lexicon))
        other._set_backend(self.backend)
        return other

    def predict_views(self, views: Sequence[Sequence[np.ndarray]]) -> list[Prediction]:
        """Read the views of each picture, and keep the reading that ``dptr.inference.views.read_views`` chooses.

        Raises:
            UserError: see ``predict_arrays``.
        """
        chosen = read_views(views, self.predict_arrays, self.tta, self.turn)
        return [replace(prediction, turned=degrees) for prediction, degrees in chosen]

    def predict_arrays(self, crops: Sequence[np.ndarray] | UInt8[np.ndarray, "n h w 3"]) -> list[Prediction]:
        """Read RGB crops in sizes that the model reads (``fit``); the sizes may differ from crop to crop.

        Raises:
            UserError: the model does not read the size of a crop.
        """
        for crop in crops:
            if crop.dtype != np.uint8 or not self.size.holds(crop.shape):
                raise UserError(
                    f"crop {crop.shape} of {crop.dtype}: this model reads uint8 RGB of {self.size} pixels; use "
                    "Reader.fit, or Reader.read for any size"
                )
        return read_by_size(crops, self.batch_size, self._predict)

    def _predict(self, crops: UInt8[np.ndarray, "n h w 3"]) -> list[Prediction]:
        return self._decoding.predict(self.backend, crops)

    def _note(self, prediction: Prediction, picture: Prepared) -> Prediction:
        """Add notes on what may be wrong with a prediction."""
        width, height = picture.width, picture.height
        if prediction.turned % UPSIDE_DOWN:
            width, height = height, width
        notes = note_picture(width, height, self.size.longest, prediction.product) + note_frames(picture.frames)
        return replace(prediction, notes=notes + prediction.notes) if notes else prediction

    def _open(self, source: Picture) -> Prepared | UserError:
        try:
            return self.prepare(source)
        except UserError as error:
            return error

    def _start(self, name: str, options: ReaderOptions, open_model: Callable[[str, str], Backend]) -> None:
        self.name = name
        self._set_options(options)
        self._open_image = _opener(options.isolate)
        self._set_backend(open_model(name, options.device))

    def _set_options(self, options: ReaderOptions) -> None:
        self.options = options
        self.batch_size, self.turn, self.tta, self.isolate = (
            options.batch_size, options.turn, options.tta, options.isolate
        )  # fmt: skip
        self.charset, self.pattern, self.lexicon = options.charset, options.pattern, options.lexicon

    def _set_backend(self, backend: Backend) -> None:
        self.backend = backend
        self.device = backend.device
        self.tokenizer = backend.tokenizer
        self.card = backend.card
        self.size = backend.size
        is_free = not (self.charset or self.pattern or self.lexicon is not None)
        can_rescore = self.options.rescore and is_free and backend.searches == "paths"
        rescoring = open_rescoring(find_ngrams(self.name), backend.tokenizer) if can_rescore else None
        self._decoding = make_decoding(backend, self.name, self.charset, self.pattern, self.lexicon, rescoring)


def _opener(isolate: bool) -> Callable[[Picture, str], Image.Image]:
    return Isolation().open_image if isolate else open_image


def is_picture(source: object) -> bool:
    """Whether ``source`` is one picture. Any other iterable is several pictures."""
    if isinstance(source, np.ndarray):
        return source.ndim != 4
    picture_types = str | bytes | bytearray | memoryview | os.PathLike | Image.Image
    return isinstance(source, picture_types) or hasattr(source, "read") or not isinstance(source, Iterable)


@lru_cache(maxsize=2)
def _reopen(name: str, device: str) -> Backend:
    """The backend of an unpickled reader; cached, since a process pool pickles its function for each task."""
    return open_backend(name, device)
