"""What a reader returns for one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

PHOTOGRAPH_SIDE = 300  # pixels that the shorter side of a photograph has at least
PHOTOGRAPH_ASPECT = 2.5  # longer side / shorter side, at most; panoramas are wider, and so are most words
PHOTOGRAPH_CONFIDENCE = 0.4  # of a photograph's reading, at most (docs/LOG.md)

LEAST_HEIGHT = 6  # pixels; dptr-en reads 7 % of words of 5 rows, 25 % of 6, 61 % of 8, 87 % of 16 (docs/LOG.md)
MOST_SQUEEZED = 2.5  # times narrower than it is: models of one size learn from words of up to 25 letters in 4 heights
OF_NO_RECOGNIZER = "which does not know them"
"""How the note ends of a script that no installed recognizer reads: the same for all pictures that show it."""
MOST_OUTSIDE = 0.9
"""Of a reading that fits. Chosen on validation crops: above it are all of 812 words that do not match the pattern or
the lexicon they were read with, and 2 % of what is read rightly with a pattern (docs/evidence/expected.md)."""


@dataclass(frozen=True)
class Prediction:
    """The text read in one picture; ``str(prediction)`` is that text.

    Attributes:
        text: the characters.
        confidence: 0 to 1, how likely the word is right, as the model's card calibrates it
            (``dptr.inference.confidence.WordConfidence``): it was fitted on validation crops, and holds for crops like
            those. Of a model whose card does not (there were too few crops), it is ``product``.
        characters: each character with its own probability, 0 to 1.
        runaway: the model wrote up to its longest word without ending it and repeats itself there
            (``has_repeated_ending``); the reading is wrong.
        turned: the orientation of the view that was read: 0, or by how many degrees clockwise the picture was turned,
            90, 180 or 270.
        uncalibrated: 0 to 1, the confidence before its calibration; None where there is none.
        outside: 0 to 1, the probability of all readings that the pattern and the lexicon rule out; None where there was
            neither. The text is the likeliest of the others, whatever this is.
        notes: a sentence each on what may be wrong (``note_picture``, ``note_cut``); mostly none.
        script: that of the crop, a key of ``dptr.text.scripts.SCRIPTS``, or ``none`` for digits and signs alone; ""
            where it was not looked for (``dptr.inference.auto.AutoReader``).
        recognizer: the name of what read it; "" where it was not chosen by the script.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]
    runaway: bool = False
    turned: int = 0
    notes: tuple[str, ...] = ()
    outside: float | None = None
    uncalibrated: float | None = None
    script: str = ""
    recognizer: str = ""

    def __str__(self) -> str:
        return self.text

    @property
    def product(self) -> float:
        """0 to 1, the product of the probabilities of all characters and of the end of the word, at the model's
        temperature: what the readings of one picture are compared by."""
        return self.confidence if self.uncalibrated is None else self.uncalibrated

    def part(self, characters: Sequence[tuple[str, float]]) -> Prediction:
        """Some neighboring characters as a reading of their own, such as a word of a line.

        Its ``product`` is that of its characters. Its confidence is that of the whole to the power of the part's share
        of the logarithm of the whole's ``product``, so that the confidences of all parts multiply to at least it.
        """
        product = math.prod(probability for _, probability in characters)
        inside = 0 < self.product < 1 and product > 0
        confidence = self.confidence ** (min(math.log(product) / math.log(self.product), 1.0) if inside else 1.0)
        text = "".join(character for character, _ in characters)
        return replace(self, text=text, confidence=confidence, uncalibrated=product, characters=tuple(characters))

    @property
    def fits(self) -> bool:
        """Whether it may be a word that the pattern and the lexicon allow: ``outside`` is at most ``MOST_OUTSIDE``."""
        return self.outside is None or self.outside <= MOST_OUTSIDE

    def to_dict(self) -> dict[str, Any]:
        """All attributes but ``uncalibrated`` as JSON holds them; probabilities with six significant digits, all that
        float32 has.

        ``outside`` is there if there was a pattern or a lexicon, ``script`` and ``recognizer`` if they were looked for.
        """
        return {
            "text": self.text,
            "confidence": _round(self.confidence),
            "runaway": self.runaway,
            "turned": self.turned,
            "characters": [[character, _round(probability)] for character, probability in self.characters],
            "notes": list(self.notes),
            **({} if self.outside is None else {"outside": _round(self.outside)}),
            **({"script": self.script, "recognizer": self.recognizer} if self.script else {}),
        }


def has_repeated_ending(text: str) -> bool:
    """Whether ``text`` ends in the same one to four characters three times in a row, as a decoder that lost its place
    writes."""
    return any(len(text) >= 3 * unit and text.endswith(3 * text[-unit:]) for unit in range(1, 5))


def note_picture(width: int, height: int, longest: float, confidence: float) -> tuple[str, ...]:
    """What may be wrong with a picture: too few pixels, too long for the model, or no crop of a word.

    Args:
        width, height: of the picture as it was read, turned or not, in pixels.
        longest: width / height of the longest crop that the model reads.
        confidence: of its reading, 0 to 1, before calibration.
    """
    notes = note_photograph(width, height, confidence)
    if height < LEAST_HEIGHT:
        notes += (f"{height} pixels high; letters need {LEAST_HEIGHT} or more to be told apart",)
    if width > MOST_SQUEEZED * longest * height:
        notes += (
            f"{width / height:.0f} times as long as high, squeezed to the {longest:g} that this model reads; cut it "
            "into shorter pieces, or read it with 'dptr ocr'",
        )
    return notes


def note_frames(frames: int) -> tuple[str, ...]:
    """The note of a file of several frames, of which the first is read."""
    return (f"the first of {frames} frames; 'dptr ocr' reads all",) if frames > 1 else ()


def note_cut(characters: int) -> str:
    """The note of a reading that reached the model's longest word and did not end."""
    return f"the reading stops at {characters} characters, the most that this model writes; there may be more"


def note_photograph(width: int, height: int, confidence: float) -> tuple[str, ...]:
    """A note if a picture looks like a whole photograph: large, not long, and read with little confidence.

    A close-up of one word is large too, but is read with confidence. Of 22,835 crops for training no more than 2 get
    the note, of 60 photographs of streets all.

    Args:
        width, height: of the picture, in pixels.
        confidence: of its reading, 0 to 1, before calibration.
    """
    shorter, longer = sorted((width, height))
    if shorter < PHOTOGRAPH_SIDE or longer > PHOTOGRAPH_ASPECT * shorter or confidence > PHOTOGRAPH_CONFIDENCE:
        return ()
    return (
        f"looks like a whole photograph ({width}x{height}); this reads crops of one word: find its words with "
        "'dptr ocr'",
    )


def _round(probability: float) -> float:
    return float(f"{probability:.6g}")
