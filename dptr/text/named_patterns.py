"""Named patterns: regular expressions (``dptr.text.regular``) for dates, prices, and other strings that are often read.

They describe the form only. 31/02/2026 is a date here, and an IBAN's check digits are not verified.
"""

from __future__ import annotations

import difflib

from dptr.text.patterns import PATTERNS
from dptr.utils.errors import UserError

_DAY = "(0?[1-9]|[12][0-9]|3[01])"
_MONTH = "(0?[1-9]|1[0-2])"
_YEAR = "([12][0-9]{3}|[0-9]{2})"
_NUMBER = "([0-9]{1,3}(,[0-9]{3})+|[0-9]+)([.][0-9]{2})?|([0-9]{1,3}([.][0-9]{3})+|[0-9]+)(,[0-9]{2})?"
_SIGN = "([$€£¥₹]|EUR|USD|GBP|CHF)"

NAMED_PATTERNS: dict[str, str] = {
    "date": "|".join(
        (
            "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
            *(f"{_DAY}{separator}{_MONTH}{separator}{_YEAR}" for separator in ("/", "[.]", "-")),
            *(f"{_MONTH}{separator}{_DAY}{separator}{_YEAR}" for separator in ("/", "-")),
        )
    ),
    "price": f"-?({_SIGN} ?)?({_NUMBER})|-?({_NUMBER}) ?{_SIGN}",
    "iban": "[A-Z]{2}[0-9]{2}( ?[A-Z0-9]{4}){2,7}( ?[A-Z0-9]{1,3})?",
    "plate-de": "[A-ZÄÖÜ]{1,3}[- ]?[A-Z]{1,2}[- ]?[1-9][0-9]{0,3}[EH]?",
}
"""``date``: 2026-12-31, 31/12/2026, 31.12.2026, 1-2-26, 12/31/26. ``price``: 12.50, $1,299.00, 1.299,00€, -5, EUR7,20.
``iban``: ISO 13616, from 12 characters up to the most that the model reads. ``plate-de``: German license plates, which
begin with the district: B-MW1234, MXY99E. Spaces are optional if the model reads spaces."""

_SIMILARITY = 0.8  # difflib's ratio from which a word is a misspelled name: "dates" for date, but not "data"


def find_expression(pattern: str) -> str:
    """The regular expression of a named pattern; any other ``pattern`` is an expression and is returned unchanged.

    Raises:
        UserError: the pattern is a word similar to a name (``dates``, ``IBAN``), or to a name of
            ``dptr.text.patterns.PATTERNS``, which generate strings and cannot read them. As an expression, the word
            would match only itself.
    """
    if pattern in NAMED_PATTERNS:
        return NAMED_PATTERNS[pattern]
    names = [*NAMED_PATTERNS, *PATTERNS]
    is_word = pattern.replace("-", "").replace("_", "").isalpha()
    if is_word and difflib.get_close_matches(pattern.casefold(), names, 1, _SIMILARITY):
        raise UserError(
            f"pattern '{pattern}': there is none of this name; pass {', '.join(NAMED_PATTERNS)}, or a regular "
            f"expression such as '[A-Z]{{3}}[0-9]{{4}}'; for this very word pass '({pattern})'"
        )
    return pattern
