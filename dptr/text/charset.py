"""Charsets, the characters that a model can write; and the normalization of labels to them."""

from __future__ import annotations

import difflib
import hashlib
import string
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unicodedata import category, decimal, normalize

from dptr.text.languages import LANGUAGES
from dptr.text.unicode import directions, is_jamo, is_mark
from dptr.utils.errors import UserError
from dptr.utils.reading import LARGEST_SETTINGS, read_named_text

CHARSETS: dict[str, str] = {
    "10": string.digits,
    "36": string.digits + string.ascii_lowercase,
    "62": string.digits + string.ascii_letters,
    "94": string.digits + string.ascii_letters + string.punctuation,
}
"""Named sets, by their size; all but the first in the order of PARSeq's ``configs/charset/*.yaml``."""

SPACED = "+space"
"""Suffix of a charset's name that adds the space as its last character, for lines of several words."""

EMPTY = "empty label"
OUTSIDE = "outside charset"
TOO_LONG = "too long"
BARE_MARK = "combining mark without a letter"
MIXED = "letters of both directions"

WIDTHS = {chr(0xFF00 + code - 0x20): chr(code) for code in range(0x21, 0x7F)}
"""Full-width forms of ASCII (U+FF01 to U+FF5E), as East Asian keyboards type them."""

VARIANTS = {
    **WIDTHS,
    **{"～": "〜", "〜": "～", "￥": "¥", "￦": "₩"},
    **{"ي": "ی", "ى": "ی", "ك": "ک", "ی": "ي", "ک": "ك"},  # Arabic and Persian, of which most forms look the same
    "\u0640": "",  # the Arabic stretching sign, which spells nothing
    **{"׳": "'", "״": '"', "ʼ": "’", "ʻ": "‘"},
}
"""Variant -> character: ``Charset.fold`` replaces a variant that a charset lacks by the character, if it has that."""

# Zero width space, word joiner, byte order mark, soft hyphen; marks, embeddings and isolates of direction (UAX #9).
_INVISIBLE = "\u200b\u2060\ufeff\u00ad" + "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_NOTHING = dict.fromkeys(map(ord, _INVISIBLE))


@dataclass(frozen=True)
class Charset:
    """An ordered set of characters.

    Attributes:
        name: a named set, a language code, a file's stem, or "inferred".
        characters: unique single code points, each its own NFC form, no white space but the space (U+0020), no control
            character or surrogate.

    Raises:
        UserError: ``characters`` is empty, breaks a rule above, or holds combining marks and nothing to put them on.
    """

    name: str
    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.characters:
            raise UserError(f"charset '{self.name}': no characters; list at least one")
        previous: set[str] = set()
        for character in self.characters:
            possible = character == " " or normalize_label(character) == character
            if len(character) != 1 or not possible or category(character) in ("Cc", "Cs"):
                raise UserError(
                    f"charset '{self.name}': {show(character)}; each entry must be one NFC code point, no control "
                    "character, surrogate, or white space but the space; remove it"
                )
            if character in previous:
                raise UserError(f"charset '{self.name}': {show(character)} appears twice; remove one")
            previous.add(character)
        if all(map(is_mark, self.characters)):
            raise UserError(
                f"charset '{self.name}': only combining marks, such as {show(self.characters[0])}; a mark stands "
                "on a letter; add the letters"
            )

    def __len__(self) -> int:
        return len(self.characters)

    def __contains__(self, character: object) -> bool:
        return character in self._positions

    def index(self, character: str) -> int:
        """Position of a character, 0-based.

        Raises:
            UserError: it is not in the charset.
        """
        try:
            return self._positions[character]
        except KeyError:
            raise UserError(
                f"{show(character)}: not among the {len(self)} characters of charset '{self.name}'; "
                "drop the label or choose a larger charset"
            ) from None

    def covers(self, text: str) -> bool:
        """Whether every character of ``text`` is in the charset; true for the empty text."""
        return self._set.issuperset(text)

    def is_plain(self, text: str) -> bool:
        """Quick check whether ``text`` is a normalized label of left-to-right letters, without marks and spaces.

        It can be False for some that are.
        """
        return self._plain.issuperset(text)

    @property
    def digest(self) -> str:
        """The number of characters, and a digest of them in this order."""
        sha256 = hashlib.sha256("".join(self.characters).encode())
        return f"{len(self)} characters ({sha256.hexdigest()[:8]})"

    @property
    def spaced(self) -> bool:
        """Whether it has the space, so that labels keep their spaces."""
        return " " in self

    def normalize(self, text: str) -> str:
        """``normalize_label``, which keeps spaces if this charset has the space."""
        return normalize_label(text, self.spaced)

    def fold(self, text: str) -> str:
        """Fold ``text`` to this charset.

        ``VARIANTS`` that the charset lacks are replaced. Then ``text`` is lower-cased if the charset has no upper case,
        or upper-cased if it has no lower case, as in PARSeq's ``CharsetAdapter`` (strhub/data/utils.py).
        """
        if not text.isascii():
            text = self.normalize(text.translate(self._variants))
        if self._fold_to == "lower":
            return self.normalize(text.lower())
        if self._fold_to == "upper":
            return self.normalize(text.upper())
        return text

    @cached_property
    def zeros(self) -> tuple[str, ...]:
        """The zeros of its other digits than ASCII's, such as Arabic ones; each is followed by nine digits."""
        return tuple(each for each in self.characters if each != "0" and decimal(each, -1) == 0)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {character: position for position, character in enumerate(self.characters)}

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(self.characters)

    @cached_property
    def _plain(self) -> frozenset[str]:
        """Characters all of whose strings are normalized labels: left to right, and not composed by NFC."""

        def stands(character: str) -> bool:
            return self.fold(self.normalize(character)) == character and directions(character) != {"rtl"}

        return frozenset(each for each in self.characters if stands(each) and not (is_mark(each) or is_jamo(each)))

    @cached_property
    def _variants(self) -> dict[int, str]:
        return {
            ord(variant): character
            for variant, character in VARIANTS.items()
            if variant not in self and self.covers(character) and (character or "ا" in self)
        }

    @cached_property
    def _fold_to(self) -> str:
        lower = any(character != character.upper() for character in self.characters)
        upper = any(character != character.lower() for character in self.characters)
        return {(True, False): "lower", (False, True): "upper"}.get((lower, upper), "")


def resolve_charset(spec: str) -> Charset:
    """The charset for a recipe's setting.

    Args:
        spec: a key of ``CHARSETS``, a language code of ``LANGUAGES``, or the path of a UTF-8 file with the characters
            in order; white space is ignored (write ``./94`` for a file of that name). The suffix ``+space``, as in
            ``94+space``, adds the space as the last character.

    Raises:
        UserError: none of these; or the file is unreadable, not UTF-8, empty, or repeats a character.
    """
    if spec.endswith(SPACED) and not Path(spec).is_file():
        return Charset(spec, (*resolve_charset(spec.removesuffix(SPACED)).characters, " "))
    if spec in CHARSETS:
        return Charset(spec, tuple(CHARSETS[spec]))
    if spec in LANGUAGES:
        return Charset(spec, tuple(LANGUAGES[spec].charset))
    path = Path(spec)
    if not path.is_file():
        known = [*CHARSETS, *LANGUAGES]
        nearest = difflib.get_close_matches(spec, known, n=1, cutoff=0.4)
        hint = f"did you mean '{nearest[0]}'? Otherwise pass" if nearest else "pass"
        raise UserError(
            f"charset '{spec}': neither a named set ({', '.join(CHARSETS)}), a language ({', '.join(LANGUAGES)}) nor "
            f"a file; {hint} one of these"
        )
    text = read_named_text(path, "charset", LARGEST_SETTINGS)
    # Character by character: NFC over the whole line would compose neighbors, such as Bengali vowel signs.
    return Charset(path.stem, tuple("".join(normalize_label(character) for character in text)))


def add_space(charset: Charset) -> Charset:
    """``charset`` with the space as its last character."""
    return charset if charset.spaced else Charset(f"{charset.name}{SPACED}", (*charset.characters, " "))


def extend_charset(charset: Charset, labels: Iterable[str], least: int = 1) -> Charset:
    """Append to ``charset``, by code point, the characters that at least ``least`` of ``labels`` have and it lacks."""
    new = tuple(character for character, count in sorted(count_new(charset, labels).items()) if count >= least)
    return Charset(charset.name, charset.characters + new) if new else charset


def count_new(charset: Charset, labels: Iterable[str]) -> Counter[str]:
    """Count, for each character that ``charset`` lacks, the labels that have it.

    Labels are normalized and folded first (``normalize_label``, ``Charset.fold``). Control characters, characters that
    NFC changes, and U+FFFD, which stands for unreadable bytes, are not counted.
    """
    counts = Counter(character for label in labels for character in set(charset.fold(charset.normalize(label))))
    for character in [*counts]:
        possible = normalize_label(character) == character and category(character) not in ("Cc", "Cs")
        if character in charset or not possible or character == "\ufffd":
            del counts[character]
    return counts


def normalize_label(text: str, spaces: bool = False) -> str:
    """Remove white space and invisible characters, then apply Unicode NFC. Idempotent.

    With ``spaces``, white space at the ends is removed, and each run of it inside becomes one space.

    For word crops it is customary to remove white space (PARSeq ``strhub/data/dataset.py``, ``remove_whitespace``).
    That code also folds to ASCII with NFKD, which empties labels of other scripts and is not done here. White space is
    ``str.isspace``. Invisible characters are U+200B, U+2060, U+FEFF, the soft hyphen, and the controls of direction.
    Joiners (U+200C, U+200D) are part of the spelling and stay.
    """
    if text.isascii() and text.isalnum():
        return text
    if not spaces:
        return normalize("NFC", "".join(text.split()).translate(_NOTHING))
    return normalize("NFC", " ".join(text.translate(_NOTHING).split()))


def check_label(label: str, charset: Charset, max_length: int) -> tuple[str, str | None]:
    """Normalize a label, fold it to the charset, and check whether a model can learn it.

    A label that begins with a combining mark has lost its first letter. The order of a label with letters of both
    directions is ambiguous: which part comes first in a picture depends on the line from which the word was cut.
    (Digits and signs have no direction: ``24ساعة`` is valid.)

    Returns:
        The folded label; and None, or the reason to drop it: ``EMPTY``, ``OUTSIDE``, ``BARE_MARK``, ``MIXED``, or
        ``TOO_LONG``.
    """
    if label and charset.is_plain(label):
        return label, None if len(label) <= max_length else TOO_LONG
    text = charset.fold(charset.normalize(label))
    if not text:
        return text, EMPTY
    if not charset.covers(text):
        return text, OUTSIDE
    if not text.isascii():
        if is_mark(text[0]):
            return text, BARE_MARK
        if len(directions(text)) == 2:
            return text, MIXED
    if len(text) > max_length:
        return text, TOO_LONG
    return text, None


def show(text: str) -> str:
    """A string for error messages, with its code points if it is not printable ASCII."""
    if text.isascii() and text.isprintable():
        return f"'{text}'"
    quoted = f"'{text}' " if text.isprintable() else ""
    return quoted + f"({' '.join(f'U+{ord(character):04X}' for character in text)})"
