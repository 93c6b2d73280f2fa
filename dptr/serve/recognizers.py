"""The models of a server: opening them by name, and reading pages and crops with them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
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
from dptr.text.charset import CHARSETS, Charset, resolve_charset
from dptr.text.languages import LANGUAGES
from dptr.utils.errors import UserError
from dptr.utils.isolation import Call, call_here, decode, odd_answer, whole_numbers
from dptr.weights import AUTO, SHIPPED

KEPT = 16  # restricted recognizers in the cache, the most recently used ones


@dataclass(frozen=True)
class Wanted:
    """The recognizer that a request asks for; see ``dptr.inference.reader.Reader``.

    Attributes:
        model: the name of the model.
        charset: the only characters to read: a key of ``CHARSETS`` or ``LANGUAGES``, or the name of a charset that the
            server was started with; empty = all of the model.
        pattern: the pattern that words must match; empty = any.
        lexicon: the only words to read; None = any.
        installed: whether ``model`` names an installed recognizer, chosen for a language. Otherwise it names a served
            model.
    """

    model: str
    charset: str = ""
    pattern: str = ""
    lexicon: tuple[str, ...] | None = None
    installed: bool = False


@dataclass(frozen=True)
class Upload:
    """An uploaded file: its name, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Sheet:
    """A page or frame of an uploaded file. ``open`` decodes it only when it is read.

    Attributes:
        upload: the file.
        number: the page or frame, from 1.
        dpi: the resolution for a page of a PDF, in pixels an inch.
        most_pixels: the largest picture to decode, in pixels.
    """

    upload: Upload
    number: int
    dpi: int
    most_pixels: int

    def open(self, call: Call = call_here) -> Image.Image:
        """Decode the picture: RGB and upright.

        Args:
            call: calls the decoder: here, or in another process.

        Raises:
            UserError: the picture is damaged or too large.
        """
        upload, settings = self.upload, {"dpi": self.dpi, "most_pixels": self.most_pixels}
        _, picture = call(open_number, upload.content, upload.name, number=self.number, **settings)
        if picture is None:
            raise odd_answer(upload.name)
        return picture


def list_sheets(upload: Upload, pages: str, dpi: int, most_pixels: int, call: Call = call_here) -> list[Sheet]:
    """The selected pages of a file. Only the head of the file is read for this.

    Args:
        upload: the file.
        pages: the selection, in the format of ``dptr.photo.inputs.parse_pages``; empty = all.
        dpi: the resolution for pages of a PDF, in pixels an inch.
        most_pixels: the largest picture to decode, in pixels.
        call: calls the decoder: here, or in another process.

    Raises:
        UserError: the file is neither a picture nor a PDF, is damaged or too large, or has no such page.
    """
    settings = {"pages": pages, "dpi": dpi, "most_pixels": most_pixels}
    numbers, _ = call(list_numbers, upload.content, upload.name, **settings)
    return [Sheet(upload, number, dpi, most_pixels) for number in whole_numbers(numbers, upload.name)]


def prepare(reader: Reader, upload: Upload, most_pixels: int, call: Call = call_here) -> Prepared:
    """Decode a crop of one word, and prepare it for a reader.

    Args:
        reader: the recognizer that will read the crop.
        upload: the file.
        most_pixels: the largest picture to decode, in pixels.
        call: calls the decoder: here, or in another process.

    Raises:
        UserError: the file is not a picture, is damaged, or is too large.
    """
    _, image = call(decode, upload.content, upload.name, most_pixels=most_pixels)
    if image is None:
        raise odd_answer(upload.name)
    return reader.prepare_image(image)


class Recognizers:
    """The served models by name, and recognizers derived from them for restricted charsets, patterns, and lexicons.

    Args:
        models: readers by name; the first is the default.
        detector: finds text in photographs.
        call: calls the decoder of files: here, or in another process (``dptr.utils.isolation``).
        device: the device for installed recognizers, each of which is opened when its language is first requested.
        charsets: charsets that requests may name beside ``CHARSETS`` and ``LANGUAGES`` (``open_charsets``).
    """

    def __init__(
        self,
        models: dict[str, Reader],
        detector: Detector,
        call: Call = call_here,
        device: str = "cpu",
        charsets: Mapping[str, Charset] = MappingProxyType({}),
    ) -> None:
        self.models = models
        self.call = call
        self.charsets = charsets
        self._device = device
        self._installed: dict[str, Reader] = {}
        self.default = next(iter(models))
        self._detector = detector
        self._lock = threading.Lock()
        self._restricted: OrderedDict[Wanted, tuple[Reader, OCR]] = OrderedDict()
        self._unrestricted = {Wanted(name): self._pair(reader) for name, reader in models.items()}

    def use(self, name: str, reader: Reader) -> None:
        """Serve a model under a name, and make it the default. Pictures being read with another model are finished.

        Args:
            name: the name; a model that has it is replaced.
            reader: the recognizer.
        """
        with self._lock:
            others = {other: served for other, served in self.models.items() if other != name}
            self._unrestricted = {**self._unrestricted, Wanted(name): self._pair(reader)}
            self.models = {name: reader, **others}
            self.default = name
            for wanted in [each for each in self._restricted if each.model == name]:
                del self._restricted[wanted]

    def open(self, wanted: Wanted) -> tuple[Reader, OCR]:
        """The recognizer for crops and the one for photographs. Restrictions are compiled once, and cached.

        Raises:
            UserError: no such model is served or installed, or it cannot use the ``charset``, ``pattern``, or
                ``lexicon``.
        """
        if wanted in self._unrestricted:
            return self._unrestricted[wanted]
        if not wanted.installed and wanted.model not in self.models:
            raise UserError(f"model '{wanted.model}': not served; there are {', '.join(self.models)}")
        charset = self.charsets.get(wanted.charset, wanted.charset)
        if isinstance(charset, str) and charset not in ("", *CHARSETS, *LANGUAGES):
            known = ", ".join([*self.charsets, *CHARSETS, *LANGUAGES])
            raise UserError(f"charset '{charset}': unknown; pass one of {known}")
        with self._lock:
            pair = self._restricted.get(wanted)
            if pair is None:
                model = self._find(wanted)
                pair = self._pair(model.expect(charset, wanted.pattern, wanted.lexicon))
                self._restricted[wanted] = pair
                while len(self._restricted) > KEPT:
                    self._restricted.popitem(last=False)
            else:
                self._restricted.move_to_end(wanted)
            return pair

    def speak(self, wanted: Wanted, language: str) -> Wanted:
        """Replace the model by the one that ``dptr.inference.zoo.find_recognizer`` finds for a language.

        Args:
            wanted: the recognizer; its restrictions stay.
            language: a key of ``LANGUAGES``; or ``AUTO``, which chooses by the script of each crop or line.

        Raises:
            UserError: there is no such language, or no installed recognizer reads it.
        """
        return replace(wanted, model=AUTO if language == AUTO else find_recognizer(language), installed=True)

    def languages(self) -> list[dict[str, str]]:
        """The languages that installed recognizers read, sorted by name, each with its recognizer.

        A request may also ask for ``AUTO``, which is not listed.

        Returns:
            For each language ``code``, ``name``, and ``model``.
        """
        model_of: dict[str, str] = {}
        languages = read_languages()
        for name in sorted(languages, key=lambda name: len(languages[name])):  # the order of find_recognizer
            model_of |= {code: name for code in languages[name] if code not in model_of}
        rows = [{"code": code, "name": LANGUAGES[code].name, "model": name} for code, name in model_of.items()]
        return sorted(rows, key=lambda language: language["name"])

    def read_pages(self, wanted: Wanted, sheets: Iterator[Sheet]) -> Iterable[Page | UserError]:
        """Find and read the words of pages, in order; see ``dptr.photo.ocr.OCR.stream``."""
        _, ocr = self.open(wanted)
        return ocr.stream((sheet.upload.name, sheet.number, _open_sheet(sheet, self.call)) for sheet in sheets)

    def read_crops(self, wanted: Wanted, crops: Iterator[Prepared]) -> Sequence[Prediction]:
        """Read crops, in order; crops of one size are computed together."""
        reader, _ = self.open(wanted)
        return reader.read_prepared([*crops])

    def describe(self) -> list[dict[str, Any]]:
        """Facts about each served model, as JSON objects."""
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
        """The reader of a model, without restrictions. An installed one is opened once. The caller holds the lock."""
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


def open_models(models: Iterable[str], options: ReaderOptions) -> dict[str, Reader]:
    """Open models, and name each: a path by its last part (``runs/mine/model`` is ``mine``), others as they are.

    Args:
        models: shipped names, paths, or ``AUTO``, which reads each crop or line with the installed recognizer of its
            script.
        options: of each reader.

    Raises:
        UserError: a model cannot be opened, or two have the same name.
    """
    opened: dict[str, Reader] = {}
    for model in models:
        if (name := _name_of(model)) in opened:
            raise UserError(f"model '{model}': another one is called '{name}' too; rename its folder or file")
        opened[name] = open_reader(model, options)
    return opened


def open_charsets(files: Iterable[str]) -> dict[str, Charset]:
    """Read charset files, and name each as its file without the suffix: ``serials.txt`` is ``serials``.

    Raises:
        UserError: a file cannot be read, or holds no charset (``resolve_charset``); or its name is that of another
            charset or of a language.
    """
    opened: dict[str, Charset] = {}
    for file in files:
        if file in CHARSETS or file in LANGUAGES:
            raise UserError(f"charset '{file}': requests can name it as it is; pass files of your own only")
        charset = resolve_charset(file)
        if charset.name in CHARSETS or charset.name in LANGUAGES or charset.name in opened:
            raise UserError(f"charset '{file}': another one is called '{charset.name}' too; rename the file")
        opened[charset.name] = charset
    return opened


def _name_of(model: str) -> str:
    """The name of a model. ``runs/mine/model`` and ``runs/mine/model.onnx`` are both ``mine``.

    ``dptr`` itself gives every model that it writes the name ``model``, so the folder's name says more.
    """
    if model in (*SHIPPED, AUTO):
        return model
    path = Path(model).resolve()
    name = path.stem if path.suffix == ".onnx" else path.name
    return path.parent.name if name == "model" and path.parent.name else name


def _open_sheet(sheet: Sheet, call: Call) -> Image.Image | UserError:
    try:
        return sheet.open(call)
    except UserError as error:
        return error
