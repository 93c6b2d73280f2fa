from __future__ import annotations

import pytest

from dptr.inference.zoo import model_cards, model_readme
from dptr.utils.errors import UserError
from dptr.weights import DEFAULT_MODEL, SHIPPED


def test_what_ships_has_a_card() -> None:
    cards = model_cards()
    assert [card["name"] for card in cards] == list(SHIPPED)
    assert all(card["megabytes"] > 0.1 and card["results"] for card in cards)
    assert model_cards(DEFAULT_MODEL) == [cards[0]]
    page = model_readme(DEFAULT_MODEL)
    assert page is not None and DEFAULT_MODEL in page
    assert model_readme("glyph-en") is None


def test_what_does_not_ship_is_named() -> None:
    for look in (model_cards, model_readme):
        with pytest.raises(UserError, match="no model 'other' ships; there are dptr-latin"):
            look("other")
