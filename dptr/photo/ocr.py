"""OCR: a photograph or a page in, its lines and words out.

>>> from dptr import OCR
>>> OCR()("photo.jpg").text  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, overload

import numpy as np
from PIL import Image

from dptr.inference.auto import open_reader
from dptr.inference.constraint import Lexicon
from dptr.inference.prediction import Prediction
from dptr.inference.reader import Reader, ReaderOptions, is_picture
from dptr.inference.views import make_views, read_by_size
from dptr.photo.assemble import assemble_page
from dptr.photo.candidates import LineReaders, RoutedLine
from dptr.photo.detect import DEFAULT_DETECTOR, Detector, open_detector
from dptr.photo.inputs import InputOptions, open_sheets
from dptr.photo.page import Page
from dptr.photo.pipeline import Check, run_pipeline
from dptr.photo.run import run_ocr
from dptr.photo.spaces import SpaceFinder
from dptr.photo.views import View, cut_lines
from dptr.utils.errors import UserError
from dptr.utils.images import Picture, open_image
from dptr.weights import DEFAULT_MODEL

AHEAD = 16  # pages that are taken and not read yet, at most
AHEAD_PIXELS = 50_000_000  # of their pictures, which a caller may hold meanwhile, beside the last one taken
TOGETHER = 16  # batches of words from which on the pages that hold them are read together
SURE = 0.9  # confidence of a word below which it is read again
ALL_PAGES = InputOptions()
CHANGED = 3  # views of a word that is read again (``dptr.inference.views.CHANGES``), the first reading among them


_Picture: TypeAlias = tuple[str, int, Image.Image | UserError]
"""Where a picture comes from, its number there, and the picture or why there is none."""


@dataclass(frozen=True)
class _Found:
    """A page whose lines are found but not read; or why it could not be opened or searched."""

    source: str
    number: int
    size: tuple[int, int] = (0, 0)
    lines: tuple[RoutedLine, ...] = ()
    error: UserError | None = None

    def count_crops(self) -> int:
        return sum(len(view.crops) for line in self.lines for seen in line.views for view in seen.views)


class OCR:
    """Reads photographs and pages: finds lines, splits them into words, and reads these.

    It is a function, ``ocr(picture)``, may be used by several threads at once, and can be pickled: what travels are the
    settings, and another process opens the models itself.

    Of several pictures the next are opened and searched while others are read (``stream``), in two threads of its own;
    which words are read in one batch does not depend on time.

    Memory: the detector's maps of one picture (at most 4000 x 4000 pixels; see ``DBDetector``), and up to ``AHEAD``
    pictures or ``AHEAD_PIXELS``, each with its crops.

    Args:
        model, device, batch_size, charset, pattern, lexicon: as for ``dptr.inference.reader.Reader``. With a pattern or
            a lexicon, pages hold the words that fit (``Prediction.fits``), and no others. With the model ``auto`` each
            line is read by the recognizer of its script (``dptr.inference.auto.AutoReader``), for which the lines of a
            photograph vote.
        detector: a key of ``dptr.photo.detect.DETECTORS``, a file of the DB family in ONNX, or a function from a
            picture to a ``Detection``.
        reader: reads the words, in place of one that the arguments of ``Reader`` describe.

    Raises:
        UserError: what ``Reader`` or ``open_detector`` raises.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: str = "cpu",
        batch_size: int = 64,
        detector: str | Path | Detector = DEFAULT_DETECTOR,
        charset: str = "",
        reader: Reader | None = None,
        pattern: str = "",
        lexicon: Lexicon = None,
    ) -> None:
        self.reader = reader or open_reader(
            model, ReaderOptions(device, batch_size, charset=charset, pattern=pattern, lexicon=lexicon)
        )
        self._asked_detector, self._asked_device = detector, device
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in ("reader", "_asked_detector", "_asked_device")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __repr__(self) -> str:
        return f"OCR({self.reader!r}, detector={self._asked_detector!r})"

    # A path is an iterable of strings too, and an array one of arrays: of these overloads the first that fits counts.
    @overload
    def read(self, source: Picture, errors: Literal["raise"] = "raise") -> Page: ...  # type: ignore[overload-overlap]
    @overload
    def read(self, source: Picture, errors: Literal["return"]) -> Page | UserError: ...  # type: ignore[overload-overlap]
    @overload
    def read(self, source: Iterable[Picture], errors: Literal["raise"] = "raise") -> list[Page]: ...
    @overload
    def read(self, source: Iterable[Picture], errors: Literal["return"]) -> list[Page | UserError]: ...

    def read(self, source: Picture | Iterable[Picture], errors: Literal["raise", "return"] = "raise") -> Any:
        """Read one picture, or several.

        Args:
            source: as for ``Reader.read``; of files with several frames the first is read (``pages`` reads all).
            errors: what to do with a picture that cannot be opened: ``raise`` its error, or ``return`` it in place
                of the page and read the others.

        Returns:
            A page for one picture, a list of them for several, in their order. A page without text has no lines.

        Raises:
            UserError: a picture cannot be opened and ``errors`` is ``raise``; or ``errors`` is neither.
        """
        if errors not in ("raise", "return"):
            raise UserError(f"errors {errors!r}: pass 'raise' or 'return'")
        single = is_picture(source)
        if single:
            pages = self._read([self._find(_open(cast(Picture, source)))])
        else:
            pages = self.stream(map(_open, cast(Iterable[Picture], source)))
        outcomes: list[Page | UserError] = []
        with closing(pages):
            for outcome in pages:
                if isinstance(outcome, UserError) and errors == "raise":
                    raise outcome
                outcomes.append(outcome)
        return outcomes[0] if single else outcomes

    __call__ = read

    def pages(
        self, files: str | Path | Iterable[str | Path], options: InputOptions = ALL_PAGES
    ) -> Iterator[Page | UserError]:
        """Yield every page of files as it is read, in order; for one that cannot be opened its error.

        Args:
            files: paths, URLs (http, https), or ``-`` for standard input: PDFs, and pictures with all their frames.
            options: which pages, at how many pixels an inch, and whether the text that a PDF holds itself is used.
        """
        sources = [files] if isinstance(files, str | Path) else files
        for outcome in run_ocr(self, open_sheets(map(str, sources), options), keep_pictures=False):
            yield outcome.page

    def stream(self, pictures: Iterable[_Picture]) -> Generator[Page | UserError, None, None]:
        """Yield an outcome for each picture, in order; words of several pages are read together.

        Pictures are taken in the caller's thread, ahead of the outcomes (``AHEAD``, ``AHEAD_PIXELS``).

        Args:
            pictures: where each comes from, its number there from 1, and the picture in RGB, or why there is none.
        """
        return run_pipeline(
            pictures, self._find, self._read, self._is_enough, _count_pixels, most_items=AHEAD, most_weight=AHEAD_PIXELS
        )

    def _is_enough(self, found: Sequence[_Found]) -> bool:
        """Whether these pages are to be read together: half of what may be taken ahead, or full batches."""
        crops = sum(page.count_crops() for page in found)
        pixels = sum(page.size[0] * page.size[1] for page in found)
        return 2 * len(found) >= AHEAD or 2 * pixels >= AHEAD_PIXELS or crops >= TOGETHER * self.reader.batch_size

    def _open(self) -> None:
        asked = self._asked_detector
        self.detector = asked if callable(asked) else open_detector(asked, self._asked_device)
        self._spaces = SpaceFinder()
        self._readers = LineReaders(self.reader)

    def _find(self, picture: _Picture) -> _Found:
        source, number, image = picture
        if isinstance(image, UserError):
            return _Found(source, number, error=image)
        try:
            detection = self.detector(image)
        except UserError as error:
            return _Found(source, number, image.size, error=error)
        lines = self._readers.route(cut_lines(image, detection, self._spaces))
        return _Found(source, number, image.size, tuple(lines))

    def _read(self, found: Sequence[_Found], check: Check = lambda: None) -> Generator[Page | UserError, None, None]:
        """The pages of what was found; ``check`` is called before each batch."""
        routed = [line for page in found for line in page.lines]
        lines = [seen for line in routed for seen in line.views]
        self._read_views([view for line in lines for view in line.views], check)
        self._read_views([view for line in lines if line.is_doubtful() for view in line.turn_around()], check)
        for line in lines:
            line.drop_other_curves()
        for each in routed:
            each.choose_candidate()
        if self._readers.expects:
            for each in routed:
                each.chosen.fix_words()
        chosen = [each.chosen.choose() for each in routed]
        if self._readers.expects:
            self._read_expected(chosen, check)
        self._read_again(chosen, check)
        self._read_words(chosen, check)  # of which others may be the best now
        for view in chosen:
            view.take_signs()
        for each in routed:
            each.annotate()
        for page in found:
            yield page.error or _assemble(page)

    def _read_views(self, views: Sequence[View], check: Check) -> None:
        lines = [(view, view.line_crop) for view in views if view.line_crop is not None]
        for (view, _), reading in zip(lines, self._predict(lines, check, self._readers.of_lines), strict=True):
            view.take_line(reading)
        self._read_words(views, check)

    def _read_words(self, views: Sequence[View], check: Check) -> None:
        """Read words until the best way to split each line holds no other: far from all that are possible."""
        asked = [(view, span) for view in views for span in view.unread()]
        while asked:
            readings = self._predict([(view, view.crops[span]) for view, span in asked], check)
            for (view, span), reading in zip(asked, readings, strict=True):
                view.readings[span] = reading
            changed = {id(view): view for view, _ in asked}.values()
            asked = [(view, span) for view in changed for span in view.unread()]

    def _read_expected(self, views: Sequence[View], check: Check) -> None:
        """Read the words that were found as words that are expected."""
        words = [(view, span) for view in views for span in view.spans]
        crops = [(view, view.crops[span]) for view, span in words]
        for (view, span), reading in zip(words, self._predict(crops, check, self._readers.of_words), strict=True):
            view.readings[span] = reading

    def _predict(
        self, crops: Sequence[tuple[View, np.ndarray]], check: Check, of: Callable[[str], Reader] | None = None
    ) -> list[Prediction]:
        """Read crops, each with its view's recognizer, in batches of one size each, narrow ones first.

        Args:
            of: the reader of a recognizer; None = the one that reads freely.
        """
        found: dict[int, Prediction] = {}
        for recognizer in dict.fromkeys(view.recognizer for view, _ in crops):
            predict = (of or self._readers.of)(recognizer).predict_arrays

            def read(batch: np.ndarray, predict: Callable[..., list[Prediction]] = predict) -> list[Prediction]:
                check()
                return predict(batch)

            own = [index for index, (view, _) in enumerate(crops) if view.recognizer == recognizer]
            readings = read_by_size([crops[index][1] for index in own], self.reader.batch_size, read)
            found |= dict(zip(own, readings, strict=True))
        return [found[index] for index in range(len(crops))]

    def _read_again(self, views: Sequence[View], check: Check) -> None:
        """Read the words that are not sure in some changed views, and keep what most of these agree on."""
        words = [
            (view, span, in_line.get(span))
            for view, in_line in ((view, view.words_of_line()) for view in views)
            for span in view.words()[0]
            if view.readings[span].confidence < SURE and view.readings[span].fits
        ]
        changed = [
            make_views(Image.fromarray(view.crops[span]), CHANGED, False, self._readers.of(view.recognizer).size)
            for view, span, _ in words
        ]
        asked = [(view, crop) for (view, _, _), crops in zip(words, changed, strict=True) for crop in crops[1:]]
        readings = iter(self._predict(asked, check, self._readers.of_words))
        for (view, span, in_line), crops in zip(words, changed, strict=True):
            candidates = [view.readings[span], *(next(readings) for _ in crops[1:])]
            view.readings[span] = agree([*candidates, *([in_line] if in_line else [])])


def agree(readings: Sequence[Prediction]) -> Prediction:
    """The text of most ``product`` in sum; both its confidences are sums over the number of all readings."""
    sums: dict[str, float] = {}
    for reading in readings:
        sums[reading.text] = sums.get(reading.text, 0.0) + (0.0 if reading.runaway else reading.product)
    text = max(sums, key=lambda each: sums[each])
    same = [reading for reading in readings if reading.text == text]
    best = max(same, key=lambda reading: reading.product)
    confidence = sum(reading.confidence for reading in same if not reading.runaway) / len(readings)
    return replace(best, confidence=confidence, uncalibrated=sums[text] / len(readings))


def _assemble(found: _Found) -> Page:
    page = assemble_page(found.source, found.number, found.size, [line.chosen for line in found.lines])
    notes = tuple(dict.fromkeys(line.note for line in found.lines if line.note))
    return replace(page, notes=page.notes + notes) if notes else page


def _count_pixels(picture: _Picture) -> int:
    return 0 if isinstance(picture[2], UserError) else picture[2].width * picture[2].height


def _open(source: Picture) -> _Picture:
    name = str(source) if isinstance(source, str | Path) else str(getattr(source, "name", "") or "")
    try:
        return name, 1, open_image(source)
    except UserError as error:
        return name, 1, error
