"""A reader that detects the script of each crop, and reads it with the installed recognizer of that script.

>>> from dptr import AutoReader
>>> AutoReader().read("crop.png").script  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from PIL import Image

from dptr.inference.backend import Backend, digest_model, open_backend
from dptr.inference.constraint import Lexicon
from dptr.inference.prediction import OF_NO_RECOGNIZER, Prediction
from dptr.inference.reader import PLAIN, Prepared, Reader, ReaderOptions
from dptr.inference.routing import (
    HAN_ALONE,
    Candidate,
    Route,
    Verdict,
    choose_candidate,
    compare_japanese,
    route,
    vote,
    weigh,
)
from dptr.inference.scripts import FILE, ScriptFinder
from dptr.inference.zoo import describe_missing_script, find_script_recognizers
from dptr.text.charset import Charset
from dptr.utils.errors import UserError
from dptr.utils.files import digest
from dptr.utils.resize import shrink_huge, turn_tall
from dptr.weights import AUTO, DEFAULT_MODEL

NO_ROUTE = Route(())


@dataclass(frozen=True, eq=False)
class Routed(Prepared):
    """A picture whose script was detected; ``views`` are those of the first candidate.

    Attributes:
        way: the candidate recognizers.
        prepared: the picture, prepared for each candidate.
    """

    way: Route = NO_ROUTE
    prepared: tuple[Prepared, ...] = ()


class AutoReader(Reader):
    """Reads each crop with the installed recognizer of its script (``dptr.inference.zoo.find_script_recognizers``).

    A prediction says which script a crop shows and which recognizer read it. The default recognizer reads digits and
    signs without letters. It also reads scripts without an installed recognizer, with a note and a low confidence. If
    several recognizers are likely, each reads, and the most confident reading is kept. The result for a crop does not
    depend on the others in a batch.

    Like a ``Reader``, it is a function and can be pickled: the settings are pickled, and another process opens the
    models once. Several threads may use it at once.

    Args:
        device, batch_size, turn, tta, isolate: see ``Reader``.

    Attributes:
        recognizers: names of recognizers, by script.
        tokenizer, card, size, backend: of the default recognizer. The others are opened when they are first needed.
    """

    def __init__(
        self, device: str = "cpu", batch_size: int = 64, turn: bool = True, tta: int = 1, isolate: bool = False
    ) -> None:
        self._start(AUTO, ReaderOptions(device, batch_size, turn, tta, isolate=isolate), open_backend)

    def __repr__(self) -> str:
        return super().__repr__().replace(f"{AUTO!r}, ", "", 1)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(vars(_reopen(state["options"])))

    def _start(self, name: str, options: ReaderOptions, open_model: Callable[[str, str], Backend]) -> None:
        check_expected(options)
        default = Reader.of(DEFAULT_MODEL, options)
        self.__dict__.update(vars(default))  # the attributes of a reader, without opening its model again
        self.name = AUTO
        self.recognizers = find_script_recognizers()
        self._find_scripts = ScriptFinder()
        self._readers = {DEFAULT_MODEL: default}
        self._opening = Lock()

    def least_confidence(self, precision: float) -> float:
        """Raise ``UserError``, since each recognizer has its own thresholds."""
        raise UserError(
            f"precision {precision:g}: each recognizer has thresholds of its own; pass a confidence, or name a language"
        )

    def expect(self, charset: str | Charset = "", pattern: str = "", lexicon: Lexicon = None) -> Self:
        """Raise ``UserError`` if anything is expected, since that belongs to one recognizer."""
        check_expected(ReaderOptions(charset=charset, pattern=pattern, lexicon=lexicon))
        return self

    def reader_of(self, recognizer: str) -> Reader:
        """The reader of a recognizer, which is opened at the first call."""
        with self._opening:
            if recognizer not in self._readers:
                self._readers[recognizer] = Reader.of(recognizer, self.options)
            return self._readers[recognizer]

    def prepare_image(self, image: Image.Image) -> Routed:
        """See ``Reader.prepare_image``. The script is detected too."""
        moderate = shrink_huge(image)
        turns = [moderate, *(turn_tall(moderate) if self.turn else ())]
        way = self._route(weigh(self.look_at([turns]), self.recognizers)[0])
        prepared = tuple(self.reader_of(each.recognizer).prepare_image(image) for each in way.candidates)
        first = prepared[0]
        return Routed(first.views, first.width, first.height, first.frames, way, prepared)

    def read_prepared(self, pictures: Sequence[Prepared]) -> list[Prediction]:
        """See ``Reader.read_prepared``."""
        routed = [each for each in pictures if isinstance(each, Routed)]
        if len(routed) < len(pictures):
            raise UserError("pictures that another reader has prepared; pass what AutoReader.prepare returns")
        tasks = [(picture, index) for picture in routed for index in range(len(picture.prepared))]
        names = [picture.way.candidates[index].recognizer for picture, index in tasks]
        readings: dict[tuple[int, int], Prediction] = {}
        for name in dict.fromkeys(names):
            recognizer_tasks = [task for task, each in zip(tasks, names, strict=True) if each == name]
            predictions = self.reader_of(name).read_prepared(
                [picture.prepared[index] for picture, index in recognizer_tasks]
            )
            readings |= {
                (id(picture), index): reading
                for (picture, index), reading in zip(recognizer_tasks, predictions, strict=True)
            }
        return [
            choose(picture.way, [readings[id(picture), index] for index in range(len(picture.prepared))])
            for picture in routed
        ]

    def look_at(self, pictures: Sequence[Sequence[Image.Image]]) -> Float[np.ndarray, "n scripts"]:
        """The script probabilities of each picture, from its clearest orientation.

        Args:
            pictures: each in its possible orientations.
        """
        probabilities = self._find_scripts([turned for turns in pictures for turned in turns])
        rows, start = [], 0
        for turns in pictures:
            picture_rows = probabilities[start : start + len(turns)]
            rows.append(picture_rows[int(np.argmax(picture_rows[:, :-1].max(1)))])
            start += len(turns)
        return np.array(rows).reshape(len(pictures), -1)

    def route_lines(self, lines: Sequence[Sequence[Image.Image]]) -> list[Route]:
        """The route of each line of one photograph; lines vote for each other's scripts (``routing.vote``).

        Args:
            lines: each in its possible orientations.
        """
        voted = vote(self.look_at(lines), self.recognizers)
        return [self._route(each, compare_japanese(voted)) for each in voted]

    def _route(self, probabilities: Float[np.ndarray, " scripts"], japanese: float = HAN_ALONE) -> Route:
        return route(probabilities, self.recognizers, DEFAULT_MODEL, japanese)


def choose(way: Route, readings: Sequence[Prediction]) -> Prediction:
    """Choose between the readings of a crop's candidates, and annotate the chosen one."""
    confidences = [0.0 if reading.runaway else reading.confidence for reading in readings]
    verdict = choose_candidate(way, confidences, [reading.text for reading in readings])
    return annotate(readings[verdict.index], verdict, way.candidates[verdict.index])


def annotate(reading: Prediction, verdict: Verdict, candidate: Candidate) -> Prediction:
    """Add script, recognizer, and, if no recognizer reads the script, a note to a reading."""
    uncalibrated = reading.product
    notes = (missing_note(verdict.script), *reading.notes) if verdict.missing else reading.notes
    return replace(
        reading, confidence=reading.confidence * verdict.factor, uncalibrated=uncalibrated, notes=notes,
        script=verdict.script, recognizer=candidate.recognizer,
    )  # fmt: skip


def missing_note(script: str) -> str:
    """The note for pictures with a script that no installed recognizer reads."""
    return f"{describe_missing_script(script)}; read by {DEFAULT_MODEL}, {OF_NO_RECOGNIZER}"


def open_reader(model: str | Path = DEFAULT_MODEL, options: ReaderOptions = PLAIN) -> Reader:
    """Open a ``Reader``, or an ``AutoReader`` if ``model`` is ``AUTO``.

    Raises:
        UserError: see ``Reader``; or ``AUTO`` is combined with a charset, a pattern, or a lexicon.
    """
    return AutoReader.of(AUTO, options) if model == AUTO else Reader.of(model, options)


def check_expected(options: ReaderOptions) -> None:
    """Check that the options have no charset, pattern, or lexicon.

    Raises:
        UserError: they have one.
    """
    expected = {"charset": options.charset, "pattern": options.pattern, "lexicon": options.lexicon}
    for name, value in expected.items():
        if value:
            raise UserError(f"{name} with language '{AUTO}': what is expected is of one language; name that one")


@lru_cache(maxsize=2)
def _reopen(options: ReaderOptions) -> AutoReader:
    """An unpickled reader; cached, since a process pool pickles its function for each task."""
    return AutoReader.of(AUTO, options)


def digest_reader(model: str | Path) -> str:
    """The digest of a model (``digest_model``); for ``AUTO``, of all its recognizers and the script detector."""
    if model != AUTO:
        return digest_model(model)
    names = sorted({DEFAULT_MODEL, *find_script_recognizers().values()})
    parts = [digest(FILE), *(f"{name} {digest_model(name)}" for name in names)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
