"""What a word must be, wherever it comes from: of a charset and a length, in a split, within a limit."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from dptr.text import casing
from dptr.text.charset import OUTSIDE, SPACED, Charset, check_label

Split = Literal["train", "heldout", "all"]

# Signs put around a word, those of the charset only. Weights by repetition; judgment, not measured.
SIGNS = (
    *[("", sign) for sign in ".,.,!?:;'\")-…。，、！？：؟،।"],
    *[(sign, "") for sign in "#@&$*-¿¡"],
    *[("(", ")"), ('"', '"'), ("'", "'"), ("[", "]"), ("“", "”"), ("«", "»"), ("「", "」"), ("《", "》")],
    *[("„", "“"), ("„", "”"), ("‚", "‘"), ("‘", "’"), ("”", "”"), ("‹", "›"), ("（", "）"), ("『", "』"), ("【", "】")],
    *[("", "；"), ("", "؛"), ("", "॥")],
)
_SPLIT_IGNORES = string.punctuation + "".join(dict.fromkeys("".join(before + after for before, after in SIGNS)))


@dataclass(frozen=True)
class Limit:
    """What words must be beside of the charset and short enough; which of some are, and the reason to drop others."""

    reason: str
    fits: Callable[[Sequence[str]], Sequence[bool]]


def is_heldout(word: str, share: float) -> bool:
    """Whether a word belongs to the held-out split, a ``share`` (0..1) of all words.

    Decided by blake2b of the case-folded word without signs at its ends (``casing.key``), so that a word is on the same
    side in every run, process and source, in any case, with or without a sign. What is then shorter than two characters
    is never held out: single characters are the alphabet itself.
    """
    key = casing.key(word.strip(_SPLIT_IGNORES))
    if len(key) < 2:
        return False
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


@dataclass(frozen=True)
class Rules:
    """What the words of a corpus must be.

    Attributes:
        charset, max_length: what they are written with, and in how many code points at most.
        split, heldout: the part of all words that they are of, and the share that is held out.
        limit: what they must be besides; None = nothing.
        restyled: whether a word may be drawn in another case than the one that it is listed in.
    """

    charset: Charset
    max_length: int
    split: Split
    heldout: float
    limit: Limit | None
    restyled: bool

    def read(self, entry: str, language: str, styled: bool) -> tuple[str, str | None]:
        """An entry as a word, and the reason to leave it out; split and limit are not looked at.

        Args:
            styled: whether its source has case styles: then a case counts that the charset has.
        """
        word, reason = check_label(entry, self.charset, self.max_length)
        if reason == OUTSIDE and styled and self.restyled:
            cases = (casing.lower, casing.upper, casing.title)
            styles = (self.charset.normalize(cased(word, language)) for cased in cases)
            word, reason = next(((style, None) for style in styles if self.fits(style)), (word, reason))
        return word, reason

    def accepts(self, text: str) -> bool:
        """Whether a text is a label and within the limit."""
        return check_label(text, self.charset, self.max_length)[1] is None and self.is_within_limit(text)

    def fits(self, word: str) -> bool:
        """Whether a normalized word is short enough and of the charset."""
        return len(word) <= self.max_length and self.charset.covers(word)

    def is_within_limit(self, word: str) -> bool:
        """Whether the limit, if there is one, lets it be."""
        return self.limit is None or self.limit.fits([word])[0]

    def is_in_split(self, word: str) -> bool:
        """Whether it is of the split."""
        return self.split == "all" or is_heldout(word, self.heldout) == (self.split == "heldout")

    def language_of(self, default: str) -> str:
        """Whose case rules hold: those of the charset's language where it has some."""
        own = self.charset.name.removesuffix(SPACED)
        return own if own in casing.LANGUAGES else default

    def describe(self) -> str:
        """For messages."""
        return f"charset '{self.charset.name}' and max_length {self.max_length}"
