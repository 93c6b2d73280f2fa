"""OCR: reads a photograph or a page, and returns its lines and words.

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

AHEAD = 16  # most pictures that are taken from the caller, but not read yet
AHEAD_PIXELS = 50_000_000  # limit on the pixels of these pictures; the last one taken may exceed it
TOGETHER = 16  # a group of pages is read once it has this many batches of crops
SURE = 0.9  # words with a lower confidence are read again
ALL_PAGES = InputOptions()
CHANGED = 3  # views of a word that is read again (``dptr.inference.views.CHANGES``), including the unchanged one

_SourcePicture: TypeAlias = tuple[str, int, Image.Image | UserError]
"""The source, the page number in it (from 1), and the picture, or the error if it could not be opened."""


@dataclass(frozen=True)
class _SearchedPage:
    """A picture with its detected lines, before reading; or the error if it could not be opened or searched."""

    source: str
    number: int
    size: tuple[int, int] = (0, 0)
    lines: tuple[RoutedLine, ...] = ()
    error: UserError | None = None

    def count_crops(self) -> int:
        return sum(len(view.crops) for line in self.lines for candidate in line.views for view in candidate.views)


class OCR:
    """Reads photographs and pages: detects lines of text, splits them into words, and reads the words.

    An ``OCR`` object is called like a function: ``ocr(picture)``. Several threads may use it at once. It can be
    pickled: only the settings travel, and the other process opens the models itself.

    For several pictures (``read`` or ``stream``), one thread detects the text of the next pictures while another reads
    the words of the previous ones. Which words share a batch never depends on timing.

    Memory: the detector's maps of one picture (at most 4000 x 4000 pixels; see ``DBDetector``), and up to ``AHEAD``
    pictures or ``AHEAD_PIXELS``, each with its crops.

    Args:
        model, device, batch_size, charset, pattern, lexicon: as for ``dptr.inference.reader.Reader``. With a pattern or
            a lexicon, pages contain only the words that fit (``Prediction.fits``). With the model ``auto``, each line
            is read by the recognizer of its script (``dptr.inference.auto.AutoReader``), and the lines of a photograph
            vote for each other's scripts.
        detector: a key of ``dptr.photo.detect.DETECTORS``, an ONNX file of a network of the DB family, or a function
            from a picture to a ``Detection``.
        reader: reads the words, instead of a reader made from the arguments above.

    Raises:
        UserError: see ``Reader`` and ``open_detector``.
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
        self._detector_setting, self._device = detector, device
        self._open_models()

    def __getstate__(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in ("reader", "_detector_setting", "_device")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open_models()

    def __repr__(self) -> str:
        return f"OCR({self.reader!r}, detector={self._detector_setting!r})"

    # A path is also an iterable of strings, and an array one of arrays. Type checkers take the first matching overload.
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
            source: as for ``Reader.read``. Only the first frame of a file is read; ``pages`` reads all of them.
            errors: what to do with a picture that cannot be opened: ``raise`` its error, or ``return`` the error in
                place of the page and read the other pictures.

        Returns:
            A page for one picture; for several, a list of pages in the same order. A page without text has no lines.

        Raises:
            UserError: a picture cannot be opened and ``errors`` is ``raise``; or ``errors`` has another value.
        """
        if errors not in ("raise", "return"):
            raise UserError(f"errors {errors!r}: pass 'raise' or 'return'")
        single = is_picture(source)
        if single:
            pages = self._read_pages([self._search(_open_source(cast(Picture, source)))])
        else:
            pages = self.stream(map(_open_source, cast(Iterable[Picture], source)))
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
        """Yield every page of the files, in order, as soon as it is read; for a page that cannot be opened, its error.

        Args:
            files: paths, URLs (http, https), or ``-`` for standard input. PDFs are read with all their pages, and
                pictures with all their frames.
            options: which pages to read, the resolution of PDF pages in pixels per inch, and whether to use the text
                layer of a PDF.
        """
        sources = [files] if isinstance(files, str | Path) else files
        for outcome in run_ocr(self, open_sheets(map(str, sources), options), keep_pictures=False):
            yield outcome.page

    def stream(self, pictures: Iterable[_SourcePicture]) -> Generator[Page | UserError, None, None]:
        """Yield a page or an error for each picture, in order. Words of several pages are read together.

        The caller's thread takes the pictures from the iterable, ahead of the pages yielded (``AHEAD``,
        ``AHEAD_PIXELS``).

        Args:
            pictures: for each, its source, the page number in it from 1, and the RGB picture, or the error if it could
                not be opened.
        """
        return run_pipeline(
            pictures,
            self._search,
            self._read_pages,
            self._is_enough,
            _count_pixels,
            most_items=AHEAD,
            most_weight=AHEAD_PIXELS,
        )

    def _is_enough(self, pages: Sequence[_SearchedPage]) -> bool:
        """Whether to read these pages now: they are half of what may be taken ahead, or fill ``TOGETHER`` batches."""
        crops = sum(page.count_crops() for page in pages)
        pixels = sum(page.size[0] * page.size[1] for page in pages)
        return 2 * len(pages) >= AHEAD or 2 * pixels >= AHEAD_PIXELS or crops >= TOGETHER * self.reader.batch_size

    def _open_models(self) -> None:
        setting = self._detector_setting
        self.detector = setting if callable(setting) else open_detector(setting, self._device)
        self._spaces = SpaceFinder()
        self._readers = LineReaders(self.reader)

    def _search(self, picture: _SourcePicture) -> _SearchedPage:
        source, number, image = picture
        if isinstance(image, UserError):
            return _SearchedPage(source, number, error=image)
        try:
            detection = self.detector(image)
        except UserError as error:
            return _SearchedPage(source, number, image.size, error=error)
        lines = self._readers.route(cut_lines(image, detection, self._spaces))
        return _SearchedPage(source, number, image.size, tuple(lines))

    def _read_pages(
        self, pages: Sequence[_SearchedPage], check: Check = lambda: None
    ) -> Generator[Page | UserError, None, None]:
        """Read the words of searched pages, and yield a page or an error for each; call ``check`` before each batch."""
        routed_lines = [line for page in pages for line in page.lines]
        candidates = [candidate for line in routed_lines for candidate in line.views]
        self._read_views([view for candidate in candidates for view in candidate.views], check)
        self._read_views(
            [view for candidate in candidates if candidate.is_doubtful() for view in candidate.turn_around()], check
        )
        for candidate in candidates:
            candidate.drop_other_curves()
        for routed in routed_lines:
            routed.choose_candidate()
        if self._readers.expects:
            for routed in routed_lines:
                routed.chosen.fix_words()
        chosen = [routed.chosen.choose() for routed in routed_lines]
        if self._readers.expects:
            self._read_expected_words(chosen, check)
        self._reread_unsure_words(chosen, check)
        self._read_words(chosen, check)  # new confidences may have changed the best split
        for view in chosen:
            view.take_signs()
        for routed in routed_lines:
            routed.annotate()
        for page in pages:
            yield page.error or _make_page(page)

    def _read_views(self, views: Sequence[View], check: Check) -> None:
        """Read the crops of whole lines, if there are any, then the words of the best splits."""
        lines = [(view, view.line_crop) for view in views if view.line_crop is not None]
        for (view, _), reading in zip(lines, self._predict(lines, check, self._readers.of_lines), strict=True):
            view.take_line(reading)
        self._read_words(views, check)

    def _read_words(self, views: Sequence[View], check: Check) -> None:
        """Read the words of the best split of each line until all of them are read.

        A reading may change which split is the best. Only few of the possible words are read this way.
        """
        unread = [(view, span) for view in views for span in view.unread()]
        while unread:
            readings = self._predict([(view, view.crops[span]) for view, span in unread], check)
            for (view, span), reading in zip(unread, readings, strict=True):
                view.readings[span] = reading
            changed_views = {id(view): view for view, _ in unread}.values()
            unread = [(view, span) for view in changed_views for span in view.unread()]

    def _read_expected_words(self, views: Sequence[View], check: Check) -> None:
        """Read the chosen words again, now with the pattern or the lexicon."""
        words = [(view, span) for view in views for span in view.spans]
        crops = [(view, view.crops[span]) for view, span in words]
        for (view, span), reading in zip(words, self._predict(crops, check, self._readers.of_words), strict=True):
            view.readings[span] = reading

    def _predict(
        self, crops: Sequence[tuple[View, np.ndarray]], check: Check, get_reader: Callable[[str], Reader] | None = None
    ) -> list[Prediction]:
        """Read crops, each with the recognizer of its view, in batches of crops of one size, narrow ones first.

        Args:
            get_reader: returns the reader of a recognizer; None = the one that reads without a pattern or a lexicon.
        """
        predictions: dict[int, Prediction] = {}
        for recognizer in dict.fromkeys(view.recognizer for view, _ in crops):
            predict = (get_reader or self._readers.of)(recognizer).predict_arrays

            def read(batch: np.ndarray, predict: Callable[..., list[Prediction]] = predict) -> list[Prediction]:
                check()
                return predict(batch)

            indices = [index for index, (view, _) in enumerate(crops) if view.recognizer == recognizer]
            readings = read_by_size([crops[index][1] for index in indices], self.reader.batch_size, read)
            predictions |= dict(zip(indices, readings, strict=True))
        return [predictions[index] for index in range(len(crops))]

    def _reread_unsure_words(self, views: Sequence[View], check: Check) -> None:
        """Read words with a low confidence in some changed views too, and combine the readings."""
        words = [
            (view, span, in_line.get(span))
            for view, in_line in ((view, view.words_of_line()) for view in views)
            for span in view.words()[0]
            if view.readings[span].confidence < SURE and view.readings[span].fits
        ]
        changed_crops = [
            make_views(Image.fromarray(view.crops[span]), CHANGED, False, self._readers.of(view.recognizer).size)
            for view, span, _ in words
        ]
        crops_to_read = [
            (view, crop) for (view, _, _), crops in zip(words, changed_crops, strict=True) for crop in crops[1:]
        ]
        readings = iter(self._predict(crops_to_read, check, self._readers.of_words))
        for (view, span, in_line), crops in zip(words, changed_crops, strict=True):
            candidates = [view.readings[span], *(next(readings) for _ in crops[1:])]
            view.readings[span] = agree([*candidates, *([in_line] if in_line else [])])


def agree(readings: Sequence[Prediction]) -> Prediction:
    """Combine readings of one word: the text with the largest sum of ``product`` wins. Runaway readings count as 0.

    Returns:
        The reading of that text with the largest ``product``. Its two confidences are replaced by their sums over the
        readings of that text, divided by the number of all readings.
    """
    sums: dict[str, float] = {}
    for reading in readings:
        sums[reading.text] = sums.get(reading.text, 0.0) + (0.0 if reading.runaway else reading.product)
    text = max(sums, key=lambda each: sums[each])
    same = [reading for reading in readings if reading.text == text]
    best = max(same, key=lambda reading: reading.product)
    confidence = sum(reading.confidence for reading in same if not reading.runaway) / len(readings)
    return replace(best, confidence=confidence, uncalibrated=sums[text] / len(readings))


def _make_page(searched: _SearchedPage) -> Page:
    page = assemble_page(searched.source, searched.number, searched.size, [line.chosen for line in searched.lines])
    notes = tuple(dict.fromkeys(line.note for line in searched.lines if line.note))
    return replace(page, notes=page.notes + notes) if notes else page


def _count_pixels(picture: _SourcePicture) -> int:
    return 0 if isinstance(picture[2], UserError) else picture[2].width * picture[2].height


def _open_source(source: Picture) -> _SourcePicture:
    name = str(source) if isinstance(source, str | Path) else str(getattr(source, "name", "") or "")
    try:
        return name, 1, open_image(source)
    except UserError as error:
        return name, 1, error
