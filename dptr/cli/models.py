"""``dptr models``: the models that ship."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from dptr.cli.options import check_outputs, command, report_options, write_report
from dptr.utils.terminal import align_columns

TESTS = (("IIIT5K", "iiit5k/test"), ("IC15", "ic15/test"))  # the accuracy that the list shows


@command("models")
@click.argument("name", required=False, metavar="[NAME]")
@report_options("text", "json")
def models(name: str | None, style: str, out: str) -> None:
    """List the shipped models, or describe one.

    The list has sizes and measured accuracy. With a NAME: what that model was trained on, what it reads, and where it
    fails.
    """
    from dptr.inference.zoo import model_cards, model_readme

    check_outputs(out, style)
    page = model_readme(name) if name is not None else None
    cards = model_cards(name)
    lines = _table(cards) if name is None else _describe(cards[0])
    write_report({"models": cards}, lambda: (page or "\n".join(lines)).rstrip("\n"), style, out)


def _table(cards: list[dict[str, Any]]) -> Iterator[str]:
    rows = [("model", "kind", "MB", "parameters", *(name for name, _ in TESTS))]
    for card in cards:
        parameters = f"{card['parameters'] / 1e6:.1f} M" if card.get("parameters") else "-"
        tests = {row["data"]: row["word_accuracy"] for row in card["results"] if row.get("protocol") == "36"}
        accuracy = (f"{100 * tests[data]:.2f}" if data in tests else "-" for _, data in TESTS)
        rows.append((card["name"], card["kind"], f"{card['megabytes']:.1f}", parameters, *accuracy))
    yield align_columns(rows)
    yield ""
    yield "Accuracy in %, of words of test sets: letters and digits, whatever their case."
    yield "'dptr models NAME' prints everything known."


def _describe(card: dict[str, Any]) -> Iterator[str]:
    parameters = f", {card['parameters'] / 1e6:.1f} M parameters" if card.get("parameters") else ""
    yield f"{card['name']}  ({card['kind']}, {card['megabytes']:.1f} MB{parameters}, version {card['version']})"
    yield f"  trained on: {'; '.join(card['trained_on'])}"
    for result in card["results"]:
        names = (("word accuracy", "word_accuracy"), ("1-NED", "one_minus_ned"), ("slots right", "slot_accuracy"))
        rates = ", ".join(f"{rate} {100 * result[key]:.2f} %" for rate, key in names if key in result)
        protocol = f", protocol {result['protocol']}" if "protocol" in result else ""
        yield f"  {result['data']}{protocol}: {rates} of {result['n']} crops"
