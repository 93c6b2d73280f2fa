"""Rendered words as a source of training samples: sample i is the same in any process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dptr.data.sources import Sample
from dptr.synth import Renderer
from dptr.synth.kinds import KINDS
from dptr.text.corpus import Corpus
from dptr.text.streamed import REDRAW
from dptr.utils.errors import UserError

Tell = Callable[[list[str]], None]  # gets the lines of ``RenderedWords.describe``
UNDRAWABLE_SAMPLE = 5000  # words that are searched for ones that no font can draw, for the log
_ATTEMPTS = 100  # words that are tried before no font seems to draw any


@dataclass(frozen=True)
class RenderedWords:
    """Rendered words of a corpus.

    A word that no font can draw is replaced by another word; ``undrawable`` counts such words. Some kinds of pictures
    (``dptr.synth.kinds``) have their own texts in place of words. The word of a picture without text is "".
    """

    corpus: Corpus
    renderer: Renderer

    def word(self, index: int) -> str:
        """The word of sample ``index``.

        Raises:
            UserError: no font draws any of 100 words.
        """
        kind = KINDS.get(self.renderer.kind_of(index))
        if kind and not kind.texts:
            return ""
        for attempt in range(_ATTEMPTS):
            number = index + attempt * REDRAW
            word = self.corpus.draw(number, kind.texts) if kind else self.corpus.word(number)
            if self.renderer.can_draw(word):
                return word
        raise UserError(
            f"{word!r} and {_ATTEMPTS - 1} words before it: no font draws them; install fonts for this script "
            "(scripts/fonts.sh) or pass --set render.fonts=[...]"
        )

    def sample(self, index: int) -> Sample:
        """Sample ``index``: its crop, its word, and the places of its letters (``Renderer.render_with_stops``)."""
        word = self.word(index)
        crop, stops = self.renderer.render_with_stops(word, index)
        return crop, word, stops

    def describe(self) -> list[str]:
        """Lines for the log: the corpus with what it left out, and how many words no font can draw."""
        undrawable = self.undrawable().items()
        notes = [f"words left out: {count} of the first {UNDRAWABLE_SAMPLE:,}, {why}" for why, count in undrawable]
        return [self.corpus.describe(), *notes]

    def undrawable(self, count: int = UNDRAWABLE_SAMPLE) -> dict[str, int]:
        """Count, by reason, those of the first ``count`` words that no font can draw."""
        missing = [word for word in map(self.corpus.word, range(count)) if not self.renderer.can_draw(word)]
        return {"no font draws it": len(missing)} if missing else {}
