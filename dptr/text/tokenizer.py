"""Conversion of words to token ids, and of a decoder's probabilities to words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

from dptr.text.charset import Charset, show
from dptr.text.direction import MIRRORED, LineDirection, logical_order, to_logical, to_visual
from dptr.utils.errors import UserError

Visual = Literal["", LineDirection]


@dataclass(frozen=True)
class Decoded:
    """A decoded word.

    Attributes:
        text: the characters before the first EOS, without spaces at their ends.
        confidence: 0..1, the product of the probabilities of the characters and of EOS.
        characters: the probability of each character of ``text``, 0..1.
        written: the same characters in the model's order.
        length: the number of characters before the first EOS, including the removed spaces.
        ended: whether there was an EOS.
    """

    text: str
    confidence: float
    characters: tuple[float, ...]
    written: str
    length: int
    ended: bool = True


class Tokenizer:
    """Token ids: EOS 0, characters 1..n in charset order, BOS n+1, PAD n+2, as in PARSeq's ``strhub/data/utils.py``.

    EOS and the characters are first, since they are the classes of a decoder.
    """

    eos = 0

    def __init__(self, charset: Charset, max_length: int, visual: Visual = "") -> None:
        """
        Args:
            charset: the characters.
            max_length: of a word, in characters, >= 1.
            visual: for a model that writes in visual order, from left to right, the direction of lines with
                right-to-left letters (``dptr.text.direction``); empty for logical order. Words themselves are always in
                logical order.
        """
        if max_length < 1:
            raise UserError(f"max_length {max_length}: must be at least 1; set model.max_length")
        self.charset = charset
        self.max_length = max_length
        self.visual = visual
        self._mirrored = {one: other for one, other in MIRRORED.items() if one in charset and other in charset}
        self.classes = len(charset) + 1
        self.bos = self.classes
        self.pad = self.classes + 1
        self.vocabulary = self.classes + 2
        codes = [ord(character) for character in charset.characters]
        self._ids = np.zeros(max(codes) + 2, dtype=np.int64)  # by code point; 0 = not in the charset
        self._ids[codes] = np.arange(1, self.classes)
        self._characters = ("", *charset.characters)

    def encode(self, words: Sequence[str], full_length: bool = False) -> Int64[np.ndarray, "b t"]:
        """``[BOS c1..cn EOS PAD...]`` for each word.

        Args:
            words: normalized labels (``dptr.text.charset.check_label``); the empty word is [BOS EOS].
            full_length: pad to ``max_length + 2`` instead of the longest word + 2.

        Raises:
            UserError: a character outside the charset, or more than ``max_length`` of them.
        """
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        longest = int(lengths.max(initial=0))
        if longest > self.max_length:
            word = words[int(lengths.argmax())]
            raise UserError(
                f"{show(word)}: {longest} characters, at most {self.max_length} fit; drop it or raise max_length"
            )
        text = "".join(map(self.write, words))
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        ids = self._ids[np.minimum(codes, len(self._ids) - 1)]
        if not ids.all():
            word = words[int(np.searchsorted(lengths.cumsum(), int(ids.argmin()), side="right"))]
            self._refuse(word)
        length = self.max_length if full_length else longest
        tokens = np.full((len(words), length + 2), self.pad, dtype=np.int64)
        tokens[:, 0] = self.bos
        tokens[:, 1:-1][np.arange(length) < lengths[:, None]] = ids
        tokens[np.arange(len(words)), lengths + 1] = self.eos
        return tokens

    def decode(self, probabilities: Float[np.ndarray, "b t classes"]) -> list[Decoded]:
        """Decode the likeliest class at each position, up to the first EOS; remove spaces at the ends of the text.

        The confidence is PARSeq's (``strhub/models/base.py``): the product over the characters and EOS. Without an EOS,
        the word has all t characters, and the product is over these.

        Args:
            probabilities: 0..1, after the softmax; ``classes`` is EOS and the charset.

        Raises:
            ValueError: the last dimension is not ``self.classes``.
        """
        if probabilities.ndim != 3 or probabilities.shape[2] != self.classes:
            raise ValueError(f"probabilities of shape {probabilities.shape}, not (b, t, {self.classes})")
        ids = probabilities.argmax(axis=2)
        best = np.take_along_axis(probabilities, ids[:, :, None], axis=2)[:, :, 0].astype(np.float64)
        ended = ids == self.eos
        lengths = np.where(ended.any(axis=1), ended.argmax(axis=1), ids.shape[1])
        words = []
        for row, scores, length, end in zip(ids, best, lengths.tolist(), ended.any(axis=1), strict=True):
            written = "".join([self._characters[i] for i in row[:length].tolist()])
            first = len(written) - len(written.lstrip(" "))
            shown = written.strip(" ")
            text, characters = self.read(shown, scores[first:].tolist())
            words.append(Decoded(text, float(scores[: length + 1].prod()), characters, shown, length, bool(end)))
        return words

    def write(self, word: str) -> str:
        """Convert a word to the model's order."""
        return to_visual(word, self._mirrored, self.visual) if self.visual else word

    def read(self, text: str, scores: Sequence[float]) -> tuple[str, tuple[float, ...]]:
        """Convert a word from the model's order to logical order.

        Args:
            scores: of its characters; further ones are ignored.

        Returns:
            The word, and the score of each of its characters.
        """
        if not self.visual:
            return text, tuple(scores[: len(text)])
        order = logical_order(text, self.visual)
        return to_logical(text, self._mirrored, self.visual), tuple(scores[place] for place in order)

    def symbols(self, word: str) -> list[int]:
        """The classes of a word's characters, in the model's order; all must be in the charset."""
        return [1 + self.charset.index(character) for character in self.write(word)]

    def _refuse(self, word: str) -> None:
        outside = "".join(dict.fromkeys(character for character in word if character not in self.charset))
        raise UserError(
            f"{show(word)}: {show(outside)} not among the {len(self.charset)} characters of charset "
            f"'{self.charset.name}'; drop the word or choose a larger charset"
        )
