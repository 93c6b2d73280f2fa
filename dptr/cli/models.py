"""``dptr models``: list the shipped models and the recognizers for other scripts, or describe a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from dptr.cli.command import command
from dptr.cli.outputs import check_outputs, report_options, write_report
from dptr.utils.terminal import align_columns

if TYPE_CHECKING:
    from dptr.weights.packages import Package

TESTS = (("IIIT5K", "iiit5k/test"), ("IC15", "ic15/test"))  # test sets whose accuracy is listed
MOST_SHOWN = 8  # languages of one recognizer that are listed


@command("models")
@click.argument("name", required=False, metavar="[NAME|DIR|ONNX]", type=click.Path())
@report_options("text", "json")
def models(name: str | None, style: str, out: str) -> None:
    """List the shipped models and the recognizers for other scripts, or describe one.

    The list shows sizes and measured accuracy, and which recognizers can be installed. With NAME, describes what that
    model was trained on, what it reads, and where it fails. DIR is a folder that a training wrote, and ONNX a file of
    dptr export; of these, shows what they were trained on, and the results of their training.
    """
    from dptr.inference.zoo import missing_recognizers, model_cards, model_readme, recognizer_cards

    check_outputs(out, style)
    if name is not None:
        page, cards = model_readme(name), model_cards(name)
        write_report({"models": cards}, lambda: (page or "\n".join(_describe(cards[0]))).rstrip("\n"), style, out)
        return
    shipped, installed, missing = model_cards(), recognizer_cards(), missing_recognizers()
    report = {"models": [*shipped, *installed], "not_installed": [asdict(package) for package in missing]}
    lines = [*_table(shipped), *_recognizer_table(installed, missing)]
    write_report(report, lambda: "\n".join(lines), style, out)


def _table(cards: list[dict[str, Any]]) -> Iterator[str]:
    rows = [("model", "kind", "MB", "parameters", *(name for name, _ in TESTS))]
    for card in cards:
        parameters = f"{card['parameters'] / 1e6:.1f} M" if card.get("parameters") else "-"
        tests = {row["data"]: row["word_accuracy"] for row in card["results"] if row.get("protocol") == "36"}
        accuracy = (f"{100 * tests[data]:.2f}" if data in tests else "-" for _, data in TESTS)
        rows.append((card["name"], card["kind"], f"{card['megabytes']:.1f}", parameters, *accuracy))
    yield align_columns(rows)
    yield ""
    yield "MB: all installed files, including weights for training; the ONNX file alone is smaller."
    yield "IIIT5K, IC15: word accuracy in % on the test sets, protocol 36 (case and punctuation do not count)."
    yield "'dptr models NAME' describes a model."


def _recognizer_table(installed: list[dict[str, Any]], missing: Sequence[Package]) -> Iterator[str]:
    if not installed and not missing:
        return
    rows = [("recognizer", "MB", "words", "languages", "")]
    for card in installed:
        accuracy = f"{100 * card['results'][0]['word_accuracy']:.1f}" if card.get("results") else "-"
        languages = _shorten(card.get("languages", ()))
        rows.append((card["name"], f"{card['megabytes']:.1f}", accuracy, languages, "installed"))
    for package in missing:
        accuracy, remedy = f"{100 * package.word_accuracy:.1f}", f"pip install ./recognizers/{package.name}"
        rows.append((package.name, f"{package.megabytes:.1f}", accuracy, _shorten(package.languages), remedy))
    yield ""
    yield align_columns(rows, left=(0, 3, 4))
    yield ""
    yield "Words: accuracy in % on rendered crops of held-out words and fonts; case and punctuation count."
    yield "'dptr read --lang CODE' picks the recognizer. Run 'pip install' in the folder of DPTR's source."


def _shorten(languages: Sequence[str]) -> str:
    shown = " ".join(languages[:MOST_SHOWN])
    return f"{shown} and {len(languages) - MOST_SHOWN} more" if len(languages) > MOST_SHOWN else shown


def _describe(card: dict[str, Any]) -> Iterator[str]:
    from dptr.inference.zoo import RATES

    facts = [card.get("kind", "recognizer"), f"{card['megabytes']:.1f} MB"]
    facts += [f"{card['parameters'] / 1e6:.1f} M parameters"] if card.get("parameters") else []
    facts += [f"version {card['version']}"] if "version" in card else []
    yield f"{card['name']}  ({', '.join(facts)})"
    if trained_on := card.get("trained_on"):
        yield f"  trained on: {'; '.join(trained_on)}"
    for result in card.get("results", ()):
        rates = ", ".join(f"{rate} {100 * result[key]:.2f} %" for rate, key in RATES.items() if key in result)
        protocol = f", protocol {result['protocol']}" if "protocol" in result else ""
        count = f" of {result['n']} crops" if "n" in result else ""
        yield f"  {result['data']}{protocol}: {rates}{count}"
