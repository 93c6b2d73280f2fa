"""``dptr models``: the models that ship."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from dptr.cli.options import check_outputs, command, report_options, write_report


@command("models")
@click.argument("name", required=False, metavar="[NAME]")
@report_options("text", "json")
def models(name: str | None, style: str, out: str) -> None:
    """List the models that ship, or tell of one.

    The list has sizes, training data and measured accuracy. With a NAME: all that is known of that model, and where it
    fails.
    """
    from dptr.inference.zoo import model_cards, model_readme

    check_outputs(out)
    page = model_readme(name) if name is not None else None
    cards = model_cards(name)
    write_report({"models": cards}, lambda: (page or "\n".join(_format(cards))).rstrip("\n"), style, out)


def _format(cards: list[dict[str, Any]]) -> Iterator[str]:
    for card in cards:
        parameters = f", {card['parameters'] / 1e6:.1f} M parameters" if card.get("parameters") else ""
        yield f"{card['name']}  ({card['kind']}, {card['megabytes']:.1f} MB{parameters}, version {card['version']})"
        yield f"  trained on: {'; '.join(card['trained_on'])}"
        for result in card["results"]:
            names = (("word accuracy", "word_accuracy"), ("1-NED", "one_minus_ned"), ("slots right", "slot_accuracy"))
            rates = ", ".join(f"{rate} {100 * result[key]:.2f} %" for rate, key in names if key in result)
            protocol = f", protocol {result['protocol']}" if "protocol" in result else ""
            yield f"  {result['data']}{protocol}: {rates} of {result['n']} crops"
