"""The models that a server has open, and what they compute for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from dptr.inference.auto import AutoReader, open_reader
from dptr.inference.prediction import Prediction
from dptr.inference.reader import Prepared, Reader, ReaderOptions
from dptr.inference.zoo import find_recognizer, read_languages
from dptr.photo.detect import Detector
from dptr.photo.isolated import list_numbers, open_number
from dptr.photo.ocr import OCR
from dptr.photo.page import Page
from dptr.text.charset import CHARSETS
from dptr.text.languages import LANGUAGES
from dptr.utils.errors import UserError
from dptr.utils.isolation import Call, call_here, decode, odd_answer, whole_numbers
from dptr.weights import AUTO, SHIPPED

KEPT = 16  # recognizers with expectations, the last ones used


@dataclass(frozen=True)
class Wanted:
    """A recognizer: which model, and what it may read; see ``Reader``.

    Attributes:
        installed: whether ``model`` is an installed recognizer that a language led to, be it served by name or not.
    """

    model: str
    charset: str = ""
    pattern: str = ""
    lexicon: tuple[str, ...] | None = None
    installed: bool = False


@dataclass(frozen=True)
class Upload:
    """A file that was sent: what it is called, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Sheet:
    """A page or frame, from 1, of a file that was sent; it is opened when its turn comes."""

    upload: Upload
    number: int
    dpi: int
    most_pixels: int

    def open(self, call: Call = call_here) -> Image.Image:
        """The picture, RGB and upright.

        Raises:
            UserError: it is damaged or too large.
        """
        upload, settings = self.upload, {"dpi": self.dpi, "most_pixels": self.most_pixels}
        _, picture = call(open_number, upload.content, upload.name, number=self.number, **settings)
        if picture is None:
            raise odd_answer(upload.name)
        return picture


def list_sheets(upload: Upload, pages: str, dpi: int, most_pixels: int, call: Call = call_here) -> list[Sheet]:
    """The pages of a file that are to be read; only the head of the file is read for it.

    Args:
        pages: as ``dptr.photo.inputs.parse_pages`` reads them.

    Raises:
        UserError: the file is of another kind, damaged, or too large, or has no such page.
    """
    settings = {"pages": pages, "dpi": dpi, "most_pixels": most_pixels}
    numbers, _ = call(list_numbers, upload.content, upload.name, **settings)
    return [Sheet(upload, number, dpi, most_pixels) for number in whole_numbers(numbers, upload.name)]


def prepare(reader: Reader, upload: Upload, most_pixels: int, call: Call = call_here) -> Prepared:
    """Open a crop of one word.

    Raises:
        UserError: it is no picture, damaged, or too large.
    """
    _, image = call(decode, upload.content, upload.name, most_pixels=most_pixels)
    if image is None:
        raise odd_answer(upload.name)
    return reader.prepare_image(image)


class Recognizers:
    """Open models by name, and those derived of them that read only what is expected.

    Args:
        models: readers by name; the first is the default.
        detector: finds text.
        call: how files are decoded: here, or in another process (``dptr.utils.isolation``).
        device: of installed recognizers, which are opened when their language is first asked for.
    """

    def __init__(
        self, models: dict[str, Reader], detector: Detector, call: Call = call_here, device: str = "cpu"
    ) -> None:
        self.models = models
        self.call = call
        self._device = device
        self._installed: dict[str, Reader] = {}
        self.default = next(iter(models))
        self._detector = detector
        self._lock = threading.Lock()
        self._expecting: OrderedDict[Wanted, tuple[Reader, OCR]] = OrderedDict()
        self._plain = {Wanted(name): self._pair(reader) for name, reader in models.items()}

    def use(self, name: str, reader: Reader) -> None:
        """Serve a model from now on, as the default; what is read with another one is read to its end."""
        with self._lock:
            others = {other: held for other, held in self.models.items() if other != name}
            self._plain = {**self._plain, Wanted(name): self._pair(reader)}
            self.models = {name: reader, **others}
            self.default = name
            for wanted in [each for each in self._expecting if each.model == name]:
                del self._expecting[wanted]

    def open(self, wanted: Wanted) -> tuple[Reader, OCR]:
        """A recognizer for crops and one for photographs; what is expected is compiled once.

        Raises:
            UserError: no such model is served, or its ``charset``, ``pattern`` or ``lexicon`` cannot be used.
        """
        if wanted in self._plain:
            return self._plain[wanted]
        if not wanted.installed and wanted.model not in self.models:
            raise UserError(f"model '{wanted.model}': not served; there are {', '.join(self.models)}")
        if wanted.charset and wanted.charset not in CHARSETS and wanted.charset not in LANGUAGES:
            raise UserError(f"charset '{wanted.charset}': unknown; pass one of {', '.join([*CHARSETS, *LANGUAGES])}")
        with self._lock:
            pair = self._expecting.get(wanted)
            if pair is None:
                model = self._find(wanted)
                pair = self._pair(model.expect(wanted.charset, wanted.pattern, wanted.lexicon))
                self._expecting[wanted] = pair
                while len(self._expecting) > KEPT:
                    self._expecting.popitem(last=False)
            else:
                self._expecting.move_to_end(wanted)
            return pair

    def speak(self, wanted: Wanted, language: str) -> Wanted:
        """The same, read with the recognizer that ``dptr.inference.zoo.find_recognizer`` finds for a language.

        Args:
            language: a key of ``LANGUAGES``, or ``AUTO``: then the script of each crop, or line, decides.

        Raises:
            UserError: no such language, or no recognizer that reads it is installed.
        """
        return replace(wanted, model=AUTO if language == AUTO else find_recognizer(language), installed=True)

    def languages(self) -> list[dict[str, str]]:
        """The languages that can be asked for, by name, and which recognizer reads each; ``AUTO`` can be too."""
        found: dict[str, str] = {}
        held = read_languages()
        for name in sorted(held, key=lambda name: len(held[name])):  # as find_recognizer chooses
            found |= {code: name for code in held[name] if code not in found}
        told = [{"code": code, "name": LANGUAGES[code].name, "model": name} for code, name in found.items()]
        return sorted(told, key=lambda language: language["name"])

    def read_pages(self, wanted: Wanted, sheets: Iterator[Sheet]) -> Iterable[Page | UserError]:
        """Read pages of photographs; see ``OCR.stream``."""
        _, ocr = self.open(wanted)
        return ocr.stream((sheet.upload.name, sheet.number, _open(sheet, self.call)) for sheet in sheets)

    def read_crops(self, wanted: Wanted, crops: Iterator[Prepared]) -> Sequence[Prediction]:
        """Read crops, those of one size together."""
        reader, _ = self.open(wanted)
        return reader.read_prepared([*crops])

    def describe(self) -> list[dict[str, Any]]:
        """What is to be known of each model, as JSON holds it."""
        return [
            {
                "name": name,
                "default": name == self.default,
                "charset": reader.tokenizer.charset.name,
                "characters": "".join(reader.tokenizer.charset.characters),
                "spaces": " " in reader.tokenizer.charset.characters,
                "longest": reader.tokenizer.max_length,
                "device": reader.device,
                "trained_on": reader.card.get("trained_on", []),
                **({"scripts": reader.recognizers} if isinstance(reader, AutoReader) else {}),
            }
            for name, reader in self.models.items()
        ]

    def _find(self, wanted: Wanted) -> Reader:
        """The model of a recognizer; an installed one is opened once. The lock is held."""
        if not wanted.installed:
            return self.models[wanted.model]
        served = self.models.get(wanted.model)
        if served is not None and served.name == wanted.model:
            return served
        if wanted.model not in self._installed:
            batch_size = self.models[self.default].batch_size
            self._installed[wanted.model] = open_reader(wanted.model, ReaderOptions(self._device, batch_size))
        return self._installed[wanted.model]

    def _pair(self, reader: Reader) -> tuple[Reader, OCR]:
        return reader, OCR(reader=reader, detector=self._detector)


def open_models(models: Iterable[str], device: str, batch_size: int) -> dict[str, Reader]:
    """Open models, by the names that a server gives them: of a path, what its last part is called.

    ``AUTO`` is one that reads each crop, or line, with the installed recognizer of its script.

    Raises:
        UserError: one cannot be opened, or two have one name.
    """
    opened: dict[str, Reader] = {}
    for model in models:
        if (name := _name(model)) in opened:
            raise UserError(f"model '{model}': another one is called '{name}' too; rename its folder or file")
        opened[name] = open_reader(model, ReaderOptions(device, batch_size))
    return opened


def _name(model: str) -> str:
    """``runs/mine/model`` and ``runs/mine/model.onnx`` are both called ``mine``: so ``dptr`` calls the inner one."""
    if model in (*SHIPPED, AUTO):
        return model
    path = Path(model).resolve()
    name = path.stem if path.suffix == ".onnx" else path.name
    return path.parent.name if name == "model" and path.parent.name else name


def _open(sheet: Sheet, call: Call) -> Image.Image | UserError:
    try:
        return sheet.open(call)
    except UserError as error:
        return error
