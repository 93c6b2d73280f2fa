"""``dptr models``: the models that ship."""

from __future__ import annotations

from typing import Annotated

import typer

from dptr.utils.terminal import to_json


def models(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print all that is known of this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the models' cards as JSON.")] = False,
) -> None:
    """List the models that ship: size, what they were trained on, measured accuracy; or one of them at length."""
    from dptr.inference.zoo import model_cards, model_readme

    page = model_readme(name) if name is not None else None
    if page is not None and not as_json:
        print(page, end="")
        return
    cards = model_cards(name)
    if as_json:
        print(to_json({"models": cards}, indent=1))
        return
    for card in cards:
        parameters = f", {card['parameters'] / 1e6:.1f} M parameters" if card.get("parameters") else ""
        print(f"{card['name']}  ({card['kind']}, {card['megabytes']:.1f} MB{parameters}, version {card['version']})")
        print(f"  trained on: {'; '.join(card['trained_on'])}")
        for result in card["results"]:
            names = (("word accuracy", "word_accuracy"), ("1-NED", "one_minus_ned"), ("slots right", "slot_accuracy"))
            rates = ", ".join(f"{rate} {100 * result[key]:.2f} %" for rate, key in names if key in result)
            protocol = f", protocol {result['protocol']}" if "protocol" in result else ""
            print(f"  {result['data']}{protocol}: {rates} of {result['n']} crops")
