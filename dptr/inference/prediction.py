"""The result of reading one picture, and notes on what may be wrong with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

# A picture with these properties gets a note that it looks like a whole photograph (docs/LOG.md).
PHOTOGRAPH_SIDE = 300  # pixels; least shorter side
PHOTOGRAPH_ASPECT = 2.5  # largest ratio of longer to shorter side; most words are wider, and so are panoramas
PHOTOGRAPH_CONFIDENCE = 0.4  # largest confidence of the reading

LEAST_HEIGHT = 6  # pixels; dptr-en reads 7 % of words of 5 rows, 25 % of 6, 61 % of 8, 87 % of 16 (docs/LOG.md)
MOST_SQUEEZED = 2.5  # factor; models of one size are trained on words of up to 25 letters in a width of 4 heights
OF_NO_RECOGNIZER = "which does not know them"
"""End of the note on a script that no installed recognizer reads."""
MOST_OUTSIDE = 0.9
"""Largest ``outside`` of a reading that fits. On validation crops, it is exceeded by all of 812 words that do not match
their pattern or lexicon, and by 2 % of correct readings with a pattern (docs/evidence/expected.md)."""


@dataclass(frozen=True)
class Prediction:
    """The text read in one picture; ``str(prediction)`` is that text.

    Attributes:
        text: the characters.
        confidence: 0 to 1, the probability that the word is right, as the model's card calibrates it
            (``dptr.inference.confidence.WordConfidence``). The calibration was fitted on validation crops, and holds
            for similar crops. If the card has none, since there were too few crops, this is ``product``.
        characters: each character with its probability, 0 to 1.
        runaway: whether the word reached the model's longest length without an end, and repeats itself there
            (``has_repeated_ending``); then the reading is wrong.
        turned: by how many degrees clockwise the picture was turned to be read: 0, 90, 180, or 270.
        uncalibrated: 0 to 1, the confidence before calibration; None if the card has no calibration.
        outside: 0 to 1, the total probability of readings that the pattern and the lexicon exclude; None without
            pattern and lexicon. The text is the likeliest of the other readings, even if this is high.
        notes: sentences on what may be wrong (``note_picture``, ``note_cut``).
        script: of the crop: a key of ``dptr.text.scripts.SCRIPTS``, or ``none`` for digits and signs without letters;
            "" if it was not detected (``dptr.inference.auto.AutoReader``).
        recognizer: the name of the recognizer; "" if it was not chosen by the script.
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
        """0 to 1, the product of the probabilities of all characters and of the word's end, at the model's temperature.
        Readings of one picture are compared by it."""
        return self.confidence if self.uncalibrated is None else self.uncalibrated

    def part(self, characters: Sequence[tuple[str, float]]) -> Prediction:
        """A prediction of some adjacent characters, such as a word of a line.

        Its ``product`` is that of its characters. Its confidence is that of the whole to the power of log(its product)
        / log(product of the whole), so that the product of the confidences of all parts is at least that of the whole.
        """
        product = math.prod(probability for _, probability in characters)
        inside = 0 < self.product < 1 and product > 0
        confidence = self.confidence ** (min(math.log(product) / math.log(self.product), 1.0) if inside else 1.0)
        text = "".join(character for character, _ in characters)
        return replace(self, text=text, confidence=confidence, uncalibrated=product, characters=tuple(characters))

    @property
    def fits(self) -> bool:
        """Whether the picture may show a word that pattern and lexicon allow: ``outside`` <= ``MOST_OUTSIDE``."""
        return self.outside is None or self.outside <= MOST_OUTSIDE

    def to_dict(self) -> dict[str, Any]:
        """All attributes except ``uncalibrated``, for JSON; probabilities are rounded to six significant digits.

        ``outside`` is included if there was a pattern or a lexicon; ``script`` and ``recognizer``, if detected.
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
    """Whether ``text`` ends with one to four characters three times in a row, as when a decoder loses its place."""
    return any(len(text) >= 3 * unit and text.endswith(3 * text[-unit:]) for unit in range(1, 5))


def note_picture(width: int, height: int, longest: float, confidence: float) -> tuple[str, ...]:
    """Notes on what may be wrong with a picture: too few pixels, too long for the model, or not a crop of a word.

    Args:
        width, height: of the picture as it was read, turned or not, in pixels.
        longest: width / height of the longest crop that the model reads.
        confidence: of the reading, 0 to 1, before calibration.
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
    """The note on a file with several frames, of which only the first is read."""
    return (f"the first of {frames} frames; 'dptr ocr' reads all",) if frames > 1 else ()


def note_cut(characters: int) -> str:
    """The note on a reading that reached the model's longest word without an end."""
    return f"the reading stops at {characters} characters, the most that this model writes; there may be more"


def note_photograph(width: int, height: int, confidence: float) -> tuple[str, ...]:
    """A note if a picture looks like a whole photograph: large, not elongated, and read with a low confidence.

    A close-up of one word is large too, but is read with a high confidence. At most 2 of 22,835 training crops get the
    note, and all of 60 street photographs.

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
