"""The lines of a photograph, prepared for each recognizer that may read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dptr.inference.auto import AutoReader, annotate, missing_note
from dptr.inference.reader import Reader
from dptr.inference.routing import Candidate, Route, Verdict, choose_candidate
from dptr.photo.split import LONGEST
from dptr.photo.views import CutLine, LineViews, view_line
from dptr.text.charset import add_space, resolve_charset

LINE_SQUEEZED = 1.25  # lines up to this many times as long as the recognizer's longest crop are also read as a whole
ALONE = Route((Candidate("", "", 1.0),))
"""The route of every line if there is only one recognizer."""


@dataclass
class RoutedLine:
    """A line with its views for each candidate recognizer, in the order of ``way.candidates``."""

    way: Route
    views: tuple[LineViews, ...]
    verdict: Verdict = field(default_factory=lambda: Verdict(0, ""))

    @property
    def chosen(self) -> LineViews:
        """The views of the chosen recognizer."""
        return self.views[self.verdict.index]

    @property
    def note(self) -> str:
        """The note on a script that no installed recognizer reads; "" if there is none."""
        return missing_note(self.verdict.script) if self.verdict.missing else ""

    def choose_candidate(self) -> None:
        """Choose the recognizer by the readings; all views must have been read."""
        if self.way is not ALONE:
            chosen = [line.choose() for line in self.views]
            confidences, texts = [view.confidence() for view in chosen], [view.text() for view in chosen]
            self.verdict = choose_candidate(self.way, confidences, texts)

    def annotate(self) -> None:
        """Add the script and the recognizer to the chosen readings."""
        if self.way is ALONE:
            return
        candidate = self.way.candidates[self.verdict.index]
        for view in self.chosen.views:
            for span, reading in view.readings.items():
                view.readings[span] = annotate(reading, self.verdict, candidate)


class LineReaders:
    """The readers of lines: one for a single recognizer, or those that an ``AutoReader`` chooses from.

    Lines are split into words by readings without the pattern or the lexicon. Otherwise, parts of words would be taken
    for expected words, such as ``12`` in a date among prices.

    Attributes:
        expects: whether words are to be read again with a pattern or a lexicon (``of_words``).
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.expects = bool(reader.pattern) or reader.lexicon is not None
        self._unconstrained: dict[str, Reader] = {}
        self._line_reader = reader if isinstance(reader, AutoReader) else _with_space(self.of(""))

    def route(self, cuts: Sequence[CutLine]) -> list[RoutedLine]:
        """The lines of one photograph, prepared for each recognizer that may read them."""
        if isinstance(self.reader, AutoReader):
            ways = self.reader.route_lines([[each.crop.image for each in cut.crops] for cut in cuts]) if cuts else []
        else:
            ways = [ALONE] * len(cuts)
        return [
            RoutedLine(way, tuple(self._make_views(cut, each.recognizer) for each in way.candidates))
            for cut, way in zip(cuts, ways, strict=True)
        ]

    def of_words(self, recognizer: str) -> Reader:
        """The reader of a recognizer, with the pattern or the lexicon."""
        return self.reader.reader_of(recognizer) if isinstance(self.reader, AutoReader) else self.reader

    def of(self, recognizer: str) -> Reader:
        """The reader of a recognizer, without a pattern or a lexicon."""
        reader = self.of_words(recognizer)
        if not self.expects:
            return reader
        if recognizer not in self._unconstrained:
            self._unconstrained[recognizer] = reader.expect(reader.charset)
        return self._unconstrained[recognizer]

    def of_lines(self, recognizer: str) -> Reader:
        """The reader of a recognizer for whole lines (``View.line_crop``)."""
        return self.of(recognizer) if isinstance(self.reader, AutoReader) else self._line_reader

    def _make_views(self, cut: CutLine, recognizer: str) -> LineViews:
        reader = self.of(recognizer)
        reads_spaces = " " in reader.tokenizer.charset.characters
        longest_line = LINE_SQUEEZED * reader.size.longest if reads_spaces else 0.0
        longest_word = max(LONGEST, reader.size.longest)
        return view_line(cut, reader.fit, longest_line, longest_word, reader.tokenizer.visual or "rtl", recognizer)


def _with_space(reader: Reader) -> Reader:
    """A reader that also reads spaces, if its charset lacks the space and its model knows it.

    Without the space, a reading of a whole line would claim that the line has no spaces.
    """
    if not reader.charset or not reader.tokenizer.charset.spaced:
        return reader
    charset = resolve_charset(reader.charset) if isinstance(reader.charset, str) else reader.charset
    return reader if charset.spaced else reader.expect(add_space(charset))
