"""The rules for words of a corpus, whatever their source: charset, maximum length, split, and an optional limit."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from dptr.text import casing
from dptr.text.charset import OUTSIDE, SPACED, Charset, check_label

Split = Literal["train", "heldout", "all"]

# Signs to put around a word, as (before, after); only those of the charset are used. Repetition sets the weights, which
# are a judgment, not measured.
SIGNS = (
    *[("", sign) for sign in ".,.,!?:;'\")-…。，、！？：؟،।"],
    *[(sign, "") for sign in "#@&$*-¿¡"],
    *[("(", ")"), ('"', '"'), ("'", "'"), ("[", "]"), ("“", "”"), ("«", "»"), ("「", "」"), ("《", "》")],
    *[("„", "“"), ("„", "”"), ("‚", "‘"), ("‘", "’"), ("”", "”"), ("‹", "›"), ("（", "）"), ("『", "』"), ("【", "】")],
    *[("", "；"), ("", "؛"), ("", "॥")],
)
_IGNORED_ENDS = string.punctuation + "".join(dict.fromkeys("".join(before + after for before, after in SIGNS)))


@dataclass(frozen=True)
class Limit:
    """A condition on words besides charset and length.

    Attributes:
        reason: why words that fail it are dropped, for reports.
        fits: maps words to whether each of them meets the condition.
    """

    reason: str
    fits: Callable[[Sequence[str]], Sequence[bool]]


def is_heldout(word: str, share: float) -> bool:
    """Whether a word belongs to the held-out split, a ``share`` (0..1) of all words.

    The decision is a hash (BLAKE2b) of the case-folded word (``casing.key``) without signs at its ends. So it is the
    same in every run, process and source, in any case, and with or without signs. Words shorter than two characters
    after this are never held out: single characters are the alphabet itself.
    """
    key = casing.key(word.strip(_IGNORED_ENDS))
    if len(key) < 2:
        return False
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


@dataclass(frozen=True)
class Rules:
    """The conditions that the words of a corpus meet.

    Attributes:
        charset: the characters that a word may have.
        max_length: the longest word, in code points.
        split: the split that words are taken from.
        heldout: the share (0..1) of all words that are held out.
        limit: a further condition; None = none.
        restyled: whether a word may be drawn in another case than listed.
    """

    charset: Charset
    max_length: int
    split: Split
    heldout: float
    limit: Limit | None
    restyled: bool

    def read(self, entry: str, language: str, styled: bool) -> tuple[str, str | None]:
        """Normalize an entry to a word. Returns the word, and the reason to drop it or None.

        Split and limit are not checked.

        Args:
            entry: an entry of a word list.
            language: code of the language whose case rules apply.
            styled: whether case styles are applied to words of this source. If so, and if words may be restyled, an
                entry outside the charset is read in the first of lower, upper, and title case that fits.
        """
        word, reason = check_label(entry, self.charset, self.max_length)
        if reason == OUTSIDE and styled and self.restyled:
            cases = (casing.lower, casing.upper, casing.title)
            styles = (self.charset.normalize(cased(word, language)) for cased in cases)
            word, reason = next(((style, None) for style in styles if self.fits(style)), (word, reason))
        return word, reason

    def accepts(self, text: str) -> bool:
        """Whether a text is a valid label (``check_label``) and within the limit."""
        return check_label(text, self.charset, self.max_length)[1] is None and self.is_within_limit(text)

    def fits(self, word: str) -> bool:
        """Whether a normalized word is short enough and has only characters of the charset."""
        return len(word) <= self.max_length and self.charset.covers(word)

    def is_within_limit(self, word: str) -> bool:
        """Whether a word meets the limit; true if there is none."""
        return self.limit is None or self.limit.fits([word])[0]

    def is_in_split(self, word: str) -> bool:
        """Whether a word belongs to the split."""
        return self.split == "all" or is_heldout(word, self.heldout) == (self.split == "heldout")

    def language_of(self, default: str) -> str:
        """The language whose case rules apply: that of the charset if it has special rules, otherwise ``default``."""
        language = self.charset.name.removesuffix(SPACED)
        return language if language in casing.LANGUAGES else default

    def describe(self) -> str:
        """Charset and length, for error messages."""
        return f"charset '{self.charset.name}' and max_length {self.max_length}"
