"""What a reader returns for one picture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """The text read in one picture.

    Attributes:
        text: the characters.
        confidence: 0 to 1, the product of the probabilities of all characters and of the end of the word, at the
            model's temperature. Where that was fitted (on validation crops, if there were enough), it estimates how
            likely the word is right, for crops like those.
        characters: each character with its own probability, 0 to 1.
        runaway: the model wrote up to its longest word without ending it and repeats itself there
            (``has_repeated_ending``); the reading is wrong.
        turned: the orientation of the view that was read: 0, or by how many degrees clockwise the picture was turned,
            90 or 270.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]
    runaway: bool = False
    turned: int = 0


def has_repeated_ending(text: str) -> bool:
    """Whether ``text`` ends in the same one to four characters three times in a row, as a decoder that lost its place
    writes."""
    return any(len(text) >= 3 * unit and text.endswith(3 * text[-unit:]) for unit in range(1, 5))
