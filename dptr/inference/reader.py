"""Reader: pictures of words in, text out.

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
from dptr.inference.views import CHANGES, UPSIDE_DOWN, make_views, read_by_size, read_views
from dptr.utils.errors import UserError
from dptr.utils.images import FRAMES, Picture, open_image
from dptr.utils.isolation import Isolation
from dptr.utils.resize import fit
from dptr.weights import AUTO, DEFAULT_MODEL


@dataclass(frozen=True)
class ReaderOptions:
    """How a reader reads, whichever recognizer it reads with; the fields are arguments of ``Reader``.

    Raises:
        UserError: a ``batch_size`` below 1, or a ``tta`` outside 1 to 6.
    """

    device: str = "cpu"
    batch_size: int = 64
    turn: bool = True
    tta: int = 1
    charset: str = ""
    pattern: str = ""
    lexicon: Lexicon = None
    isolate: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch_size {self.batch_size}: below 1; pass 1 or more pictures to read at once")
        if not 1 <= self.tta <= len(CHANGES):
            raise UserError(f"tta {self.tta}: outside 1 to {len(CHANGES)}; pass in how many ways to read a picture")
        if not (self.lexicon is None or isinstance(self.lexicon, str | Path)):
            object.__setattr__(self, "lexicon", tuple(self.lexicon))


PLAIN = ReaderOptions()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture that is open and cut into what is read.

    Attributes:
        views: see ``Reader.views``.
        width, height: of the picture, in pixels.
        frames: how many its file has.
    """

    views: list[UInt8[np.ndarray, "own_height own_width 3"]]
    width: int
    height: int
    frames: int = 1


class Reader:
    """Reads word crops with a recognizer. It changes neither torch's random state nor its number of threads.

    A reader is a function, ``reader(picture)``, and can be pickled: what travels is the model's name and the settings,
    and another process opens the model itself, once.

    Args:
        model: a shipped name (``dptr models``), a folder that ``dptr finetune`` wrote, or a file that ``dptr export``
            wrote. onnxruntime reads files and, on the CPU, folders that hold their own export, ``model.onnx``; torch
            reads other folders. The results are the same.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``openvino``, ``auto`` (``cuda`` where it works, else ``cpu``), or with
            torch any device that it knows. ``cuda`` needs onnxruntime-gpu or torch, ``openvino`` onnxruntime-openvino.
        batch_size: how many pictures to read at once, >= 1; it changes speed and memory only.
        turn: whether to read a picture taller than ``dptr.utils.resize.TALL_ASPECT`` times its width also turned by 90
            degrees either way, and to keep the most confident reading: words on spines, poles and columns run up or
            down. Other pictures are read upside down too if their reading is doubtful, and that reading counts if it
            is far surer (``dptr.inference.views.read_views``).
        tta: test-time augmentation: read so many views of each picture, 1 to 6 (``dptr.inference.views.CHANGES``), and
            keep the most confident reading. It takes up to as many times as long.
        charset: read the characters of this set alone, a named one (``10`` are the digits), a language or a file
            (``dptr.text.charset.resolve_charset``); empty = all that the model knows.
        pattern: read only words that match it: a name (``dptr.text.named_patterns.NAMED_PATTERNS``) or a regular
            expression of whole words (``dptr.text.regular``); empty = any.
        lexicon: read only these words: a file with one a line, or the words; None = any.
        isolate: whether another process decodes files, with limits on its memory and time
            (``dptr.utils.isolation``): for files of strangers.
        batch: the former name of ``batch_size``; it still works, with a warning.

    Attributes:
        name: ``model`` as it was passed.
        options: the other arguments.
        device: where the model computes; for ``auto`` what was chosen.
        backend: the open model (``dptr.inference.backend.Backend``).
        tokenizer, card, size: those of the backend.

    Raises:
        UserError: no such model, a damaged one, no such device, a ``batch_size`` below 1, a ``tta`` outside 1 to 6, an
            unknown ``charset``, or one of which the model reads nothing; what
            ``dptr.inference.decoding.make_decoding`` raises.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: str = "cpu",
        batch_size: int = 64,
        turn: bool = True,
        tta: int = 1,
        charset: str = "",
        pattern: str = "",
        lexicon: Lexicon = None,
        isolate: bool = False,
        *,
        batch: int | None = None,
    ) -> None:
        if batch is not None:
            warnings.warn("Reader(batch=...) is now Reader(batch_size=...)", DeprecationWarning, stacklevel=2)
            batch_size = batch
        if model == AUTO:
            raise UserError(f"model '{AUTO}': Reader reads with one recognizer; use AutoReader, or OCR('{AUTO}')")
        self._start(
            str(model), ReaderOptions(device, batch_size, turn, tta, charset, pattern, lexicon, isolate), open_backend
        )

    @classmethod
    def of(cls, model: str | Path, options: ReaderOptions = PLAIN) -> Self:
        """The same as ``Reader(model, ...)``, with all other arguments as one value."""
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
        charset: str = "",
        pattern: str = "",
        lexicon: Lexicon = None,
        isolate: bool = False,
    ) -> Self:
        """The same as ``Reader(name_or_path, ...)``; nothing is downloaded."""
        return cls(name_or_path, device, batch_size, turn, tta, charset, pattern, lexicon, isolate)

    def __repr__(self) -> str:
        options = self.options
        settings = [repr(self.name), f"device={self.device!r}", f"batch_size={options.batch_size}"]
        settings += [] if options.turn else ["turn=False"]
        settings += [f"tta={options.tta}"] if options.tta > 1 else []
        settings += ["isolate=True"] if options.isolate else []
        settings += [f"charset={options.charset!r}"] if options.charset else []
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

    # A path is an iterable of strings too, and an array one of arrays: of these overloads the first that fits counts.
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
            source: a picture is whatever ``dptr.utils.images.open_image`` takes: a path, the bytes of a file, an open
                binary file, a PIL image or an array ``(h, w)`` or ``(h, w, 1 to 4)``. Any other iterable is several
                pictures: a list, a generator, an array of four dimensions (to type checkers any array is one picture;
                pass them ``list(array)``).
            errors: what to do with a picture that cannot be opened: ``raise`` its error, or ``return`` it in place
                of the prediction and read the others.

        Returns:
            A prediction for one picture, a list of them for several, in their order.

        Raises:
            UserError: a picture cannot be opened and ``errors`` is ``raise``; or ``errors`` is neither.
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
        """Yield one outcome a picture, in order, as each batch finishes; for one that cannot be opened its error.

        Raises:
            UserError: ``sources`` is one picture.
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
        """From which confidence on at least a share ``precision`` of the readings is right, 0 to 1.

        It was measured on the crops that the model was validated with, and holds for crops like those, read with all
        its characters and without ``tta``. Of the shares that were measured the next higher one counts.

        Raises:
            UserError: nothing was measured for this model, or no share as high as that was reached.
        """
        known = {float(name): pair for name, pair in self.card.get("thresholds", {}).items() if name != "n"}
        if not known:
            raise UserError(
                f"model '{self.name}': its card names no confidence by precision ('dptr finetune' measures them on 100 "
                "validation crops or more); pass a confidence of your own"
            )
        above = [share for share in known if share >= precision]
        if not above:
            raise UserError(f"precision {precision:g}: the highest that model '{self.name}' reached is {max(known):g}")
        return float(known[min(above)][0])

    def fit(self, image: Image.Image) -> UInt8[np.ndarray, "own_height own_width 3"]:
        """Resize an RGB picture to a crop that the model reads."""
        return fit(image, self.size)

    def views(self, image: Image.Image) -> list[UInt8[np.ndarray, "own_height own_width 3"]]:
        """The crops that an RGB picture is read from: ``tta`` of it and, where it is tall, of each way to turn it."""
        return make_views(image, self.tta, self.turn, self.size)

    def prepare(self, source: Picture, name: str = "") -> Prepared:
        """Open a picture, and cut it into what is read.

        Args:
            source, name: as for ``dptr.utils.images.open_image``.

        Raises:
            UserError: it cannot be opened.
        """
        return self.prepare_image(self._open_image(source, name))

    def prepare_image(self, image: Image.Image) -> Prepared:
        """Cut a picture that ``dptr.utils.images.open_image`` has opened into what is read."""
        return Prepared(self.views(image), *image.size, image.info.get(FRAMES, 1))

    def read_prepared(self, pictures: Sequence[Prepared]) -> list[Prediction]:
        """Read pictures that ``prepare`` has opened; the result is that of ``read``."""
        readings = self.predict_views([picture.views for picture in pictures])
        return [self._note(*each) for each in zip(readings, pictures, strict=True)]

    def expect(self, charset: str = "", pattern: str = "", lexicon: Lexicon = None) -> Self:
        """Another reader with the same open model that reads these words only; arguments as for the class.

        Raises:
            UserError: as the class.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._take(replace(self.options, charset=charset, pattern=pattern, lexicon=lexicon))
        other._use(self.backend)
        return other

    def predict_views(self, views: Sequence[Sequence[np.ndarray]]) -> list[Prediction]:
        """Read the views of each picture, and keep the reading that ``dptr.inference.views.read_views`` chooses.

        Raises:
            UserError: see ``predict_arrays``.
        """
        chosen = read_views(views, self.predict_arrays, self.tta, self.turn)
        return [replace(prediction, turned=degrees) for prediction, degrees in chosen]

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
        return self._decoding.predict(self.backend, crops)

    def _note(self, prediction: Prediction, picture: Prepared) -> Prediction:
        """The prediction, with what may be wrong with it."""
        width, height = picture.width, picture.height
        if prediction.turned % UPSIDE_DOWN:
            width, height = height, width
        high, wide = self.size.every[-1]
        notes = note_picture(width, height, wide / high, prediction.product) + note_frames(picture.frames)
        return replace(prediction, notes=notes + prediction.notes) if notes else prediction

    def _open(self, source: Picture) -> Prepared | UserError:
        try:
            return self.prepare(source)
        except UserError as error:
            return error

    def _start(self, name: str, options: ReaderOptions, open_model: Callable[[str, str], Backend]) -> None:
        self.name = name
        self._take(options)
        self._open_image = _opener(options.isolate)
        self._use(open_model(name, options.device))

    def _take(self, options: ReaderOptions) -> None:
        self.options = options
        self.batch_size, self.turn, self.tta, self.isolate = (
            options.batch_size, options.turn, options.tta, options.isolate
        )  # fmt: skip
        self.charset, self.pattern, self.lexicon = options.charset, options.pattern, options.lexicon

    def _use(self, backend: Backend) -> None:
        self.backend = backend
        self.device = backend.device
        self.tokenizer = backend.tokenizer
        self.card = backend.card
        self.size = backend.size
        self._decoding = make_decoding(backend, self.name, self.charset, self.pattern, self.lexicon)


def _opener(isolate: bool) -> Callable[[Picture, str], Image.Image]:
    return Isolation().open_image if isolate else open_image


def is_picture(source: object) -> bool:
    """Whether it is one picture; anything else that can be iterated over is several."""
    if isinstance(source, np.ndarray):
        return source.ndim != 4
    one = str | bytes | bytearray | memoryview | os.PathLike | Image.Image
    return isinstance(source, one) or hasattr(source, "read") or not isinstance(source, Iterable)


@lru_cache(maxsize=2)
def _reopen(name: str, device: str) -> Backend:
    """The backend of a reader that was unpickled; kept, because a process pool pickles its function for each task."""
    return open_backend(name, device)
