"""Patterns by name: what is often read, as regular expressions (``dptr.text.regular``).

They describe the form alone: 31/02/2026 is a date here, and an IBAN's check digits are not checked.
"""

from __future__ import annotations

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
``iban``: ISO 13616, of 12 characters and more, and no more than the model reads. ``plate-de``: German plates, the
district first: B-MW1234, MXY99E. Spaces are optional where a model reads them."""
