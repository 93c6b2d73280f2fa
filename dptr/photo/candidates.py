"""Lines of a photograph, seen by each recognizer that may read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dptr.inference.auto import AutoReader, annotate, missing_note
from dptr.inference.reader import Reader
from dptr.inference.routing import Candidate, Route, Verdict, choose_candidate
from dptr.photo.split import LONGEST
from dptr.photo.views import CutLine, LineViews, view_line
from dptr.text.charset import SPACED, resolve_charset

LINE_SQUEEZED = 1.25  # times as long as the recognizer's longest crop that a line is which is read whole too, at most
ALONE = Route((Candidate("", "", 1.0),))
"""Of a line that one recognizer reads whatever it shows."""


@dataclass
class RoutedLine:
    """A line as its candidates see it, in the order of ``way.candidates``."""

    way: Route
    views: tuple[LineViews, ...]
    verdict: Verdict = field(default_factory=lambda: Verdict(0, ""))

    @property
    def chosen(self) -> LineViews:
        """As the recognizer sees it whose reading counts."""
        return self.views[self.verdict.index]

    @property
    def note(self) -> str:
        """What to say of a script that no installed recognizer reads; "" where there is none."""
        return missing_note(self.verdict.script) if self.verdict.missing else ""

    def choose_candidate(self) -> None:
        """Choose the recognizer; every view is read."""
        if self.way is not ALONE:
            chosen = [line.choose() for line in self.views]
            confidences, texts = [view.confidence() for view in chosen], [view.text() for view in chosen]
            self.verdict = choose_candidate(self.way, confidences, texts)

    def annotate(self) -> None:
        """Let the words of the chosen recognizer say their script."""
        if self.way is ALONE:
            return
        candidate = self.way.candidates[self.verdict.index]
        for view in self.chosen.views:
            for span, reading in view.readings.items():
                view.readings[span] = annotate(reading, self.verdict, candidate)


class LineReaders:
    """The recognizers that read lines: the one of a reader, or those that ``AutoReader`` chooses from.

    Lines are split by what is read freely in them, also where a pattern or a lexicon says what words to expect. Else
    words that fit would be found in parts of those that do not, such as ``12`` in a date among prices.

    Attributes:
        expects: whether words that were found are to be read as such words (``of_words``).
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.expects = bool(reader.pattern) or reader.lexicon is not None
        self._free: dict[str, Reader] = {}
        self._of_lines = reader if isinstance(reader, AutoReader) else _with_space(self.of(""))

    def route(self, cuts: Sequence[CutLine]) -> list[RoutedLine]:
        """The lines of one photograph, for each recognizer that may read them."""
        if isinstance(self.reader, AutoReader):
            ways = self.reader.route_lines([[each.crop.image for each in cut.crops] for cut in cuts]) if cuts else []
        else:
            ways = [ALONE] * len(cuts)
        return [
            RoutedLine(way, tuple(self._view(cut, each.recognizer) for each in way.candidates))
            for cut, way in zip(cuts, ways, strict=True)
        ]

    def of_words(self, recognizer: str) -> Reader:
        """The reader of a view's recognizer, which reads the words that are expected."""
        return self.reader.reader_of(recognizer) if isinstance(self.reader, AutoReader) else self.reader

    def of(self, recognizer: str) -> Reader:
        """The same, which reads freely."""
        reader = self.of_words(recognizer)
        if not self.expects:
            return reader
        if recognizer not in self._free:
            self._free[recognizer] = reader.expect(reader.charset)
        return self._free[recognizer]

    def of_lines(self, recognizer: str) -> Reader:
        """The reader of a view's whole line (``View.line_crop``)."""
        return self.of(recognizer) if isinstance(self.reader, AutoReader) else self._of_lines

    def _view(self, cut: CutLine, recognizer: str) -> LineViews:
        reader = self.of(recognizer)
        high, wide = reader.size.every[-1]
        reads_spaces = " " in reader.tokenizer.charset.characters
        line = LINE_SQUEEZED * wide / high if reads_spaces else 0.0
        word = max(LONGEST, wide / high)
        return view_line(cut, reader.fit, line, word, reader.tokenizer.visual or "rtl", recognizer)


def _with_space(reader: Reader) -> Reader:
    """The reader, but with the space among its characters where those that it may read lack it and its model has it: a
    line that is read without spaces says that there are none."""
    lacks = bool(reader.charset) and " " not in resolve_charset(reader.charset)
    if not lacks or " " not in reader.tokenizer.charset:
        return reader
    return reader.expect(reader.charset + SPACED)
