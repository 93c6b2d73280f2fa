"""Rendered words as a source to train on: sample i is the same in any process."""

from __future__ import annotations

from dataclasses import dataclass

from dptr.data.sources import Sample
from dptr.synth import Renderer
from dptr.synth.kinds import KINDS
from dptr.text.corpus import Corpus
from dptr.text.streamed import REDRAW
from dptr.utils.errors import UserError

_ATTEMPTS = 100


@dataclass(frozen=True)
class RenderedWords:
    """Words of a corpus, rendered. A word that no font can draw gives way to another (``undrawable``).

    Kinds of pictures that have texts of their own get those (``dptr.synth.kinds``); the word of a picture without text
    is "".
    """

    corpus: Corpus
    renderer: Renderer

    def word(self, index: int) -> str:
        """The word of a sample."""
        kind = KINDS.get(self.renderer.kind_of(index))
        if kind and not kind.texts:
            return ""
        for attempt in range(_ATTEMPTS):
            place = index + attempt * REDRAW
            word = self.corpus.draw(place, kind.texts) if kind else self.corpus.word(place)
            if self.renderer.can_draw(word):
                return word
        raise UserError(
            f"{word!r} and {_ATTEMPTS - 1} words before it: no font draws them; install fonts for this script "
            "(scripts/fonts.sh) or pass --set render.fonts=[...]"
        )

    def sample(self, index: int) -> Sample:
        word = self.word(index)
        crop, stops = self.renderer.render_with_stops(word, index)
        return crop, word, stops

    def undrawable(self, count: int = 5000) -> dict[str, int]:
        """Of the first ``count`` words, those that no font can draw, counted by reason."""
        missing = [word for word in map(self.corpus.word, range(count)) if not self.renderer.can_draw(word)]
        return {"no font draws it": len(missing)} if missing else {}
