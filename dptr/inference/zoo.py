"""Models and their cards, and the languages that installed recognizers read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dptr.inference.onnx_backend import SUFFIX, OnnxModel
from dptr.text.languages import LANGUAGES, written_languages
from dptr.text.scripts import SCRIPTS, languages_of, scripts_of_language
from dptr.utils.errors import UserError
from dptr.utils.files import read_json
from dptr.weights import SHIPPED, model_file, model_folders
from dptr.weights.packages import Package, describe_package, find_folder, find_packages, read_catalog

RATES = {"word accuracy": "word_accuracy", "1-NED": "one_minus_ned", "slots right": "slot_accuracy"}
"""The rates of a card's results, 0 to 1: how each is shown, and its key."""
MOST_SHOWN = 1e15  # no count of a card is as large


def model_cards(name: str | None = None) -> list[dict[str, Any]]:
    """The cards of all shipped models, or the card of one model.

    Args:
        name: of a shipped model or an installed recognizer; or the path of a folder that a training wrote, or of a file
            that ``dptr export`` wrote.

    Returns:
        Each card as in its JSON file (``kind``, ``trained_on``, ``results``, ...), after the keys ``name`` (``name``
        itself) and ``megabytes`` (10^6 bytes, of all its files).

    Raises:
        UserError: no model has that name, it is in dptr-weights, which is not installed, or there is no such path; or
            the model is damaged, or has no card.
    """
    if name is not None and _is_path(name):
        return [_own_card(name)]
    names = [shipped for shipped in SHIPPED if model_folders(shipped)] if name is None else [_check(name)]
    return [_card(each) for each in names]


def recognizer_cards() -> list[dict[str, Any]]:
    """The cards of the installed recognizers (``dptr.weights.packages``), in the form of ``model_cards``."""
    return [_card(name) for name in find_packages() if name not in SHIPPED]


def missing_recognizers() -> list[Package]:
    """The recognizers that this project builds, but that are not installed."""
    return [package for name, package in read_catalog().items() if name not in find_packages()]


def model_readme(name: str) -> str | None:
    """The README of a shipped model or an installed recognizer, in Markdown; None if it has none, and for a path.

    Raises:
        UserError: no model has that name.
    """
    if _is_path(name):
        return None
    page = model_file(_check(name), "README.md")
    return page.read_text(encoding="utf-8") if page.exists() else None


def find_recognizer(language: str) -> str:
    """The name of the installed recognizer that reads a language; of several, the one that reads the fewest languages.

    Args:
        language: a key of ``LANGUAGES``.

    Raises:
        UserError: there is no such language, or no installed recognizer reads it; the error says how to get one.
    """
    if language not in LANGUAGES:
        names = {LANGUAGES[code].name.casefold(): code for code in LANGUAGES}
        similar = difflib.get_close_matches(language.casefold(), [*names, *LANGUAGES], 1)
        hint = f"; did you mean {names.get(similar[0], similar[0])}?" if similar else ""
        raise UserError(f"language '{language}': not one of the {len(LANGUAGES)} codes of docs/languages.md{hint}")
    candidates = {name: codes for name, codes in read_languages().items() if language in codes}
    if candidates:
        return min(candidates, key=lambda name: len(candidates[name]))
    raise UserError(
        f"language '{language}': no recognizer that reads {LANGUAGES[language].name} is installed; "
        f"{_how_to_get([language])}"
    )


def find_script_recognizers() -> dict[str, str]:
    """The installed recognizer of each script; scripts that no recognizer reads are missing.

    If several recognizers read a script, the ones that read most of the languages written in that script alone are
    preferred, then those that read most of its languages, then those that read the fewest languages in all, then the
    first of ``read_languages``. So text in Han alone is Chinese if a recognizer reads Chinese, and Japanese
    otherwise.
    """
    languages = read_languages()
    recognizers = {}
    for script in SCRIPTS:
        alone = {code for code in languages_of(script) if scripts_of_language(code) == (script,)}
        languages_read = {name: {*codes} & {*languages_of(script)} for name, codes in languages.items()}
        names = [name for name, codes in languages_read.items() if codes]
        if names:
            recognizers[script] = min(
                names,
                key=lambda name: (-len(languages_read[name] & alone), -len(languages_read[name]), len(languages[name])),
            )
    return recognizers


def describe_missing_script(script: str) -> str:
    """A text that says that no installed recognizer reads a script, and how to get one."""
    alone = [code for code in languages_of(script) if scripts_of_language(code) == (script,)]
    return f"{script} letters: no recognizer that reads them is installed; {_how_to_get(alone or languages_of(script))}"


def _how_to_get(languages: Sequence[str]) -> str:
    """How to get a recognizer: a package that reads one of the languages, or training for the first language."""
    for package in missing_recognizers():
        if {*languages} & {*package.languages}:
            return describe_package(package.name)
    return f"make one: dptr new-language {languages[0]} --out runs/{languages[0]}"


def read_languages() -> dict[str, tuple[str, ...]]:
    """The languages that each installed recognizer reads, by its card or its charset; shipped models come first."""
    shipped = [name for name in SHIPPED if model_folders(name) and model_file(name, "model.onnx").is_file()]
    languages = {name: written_languages(_characters(name)) for name in shipped}
    return languages | {card["name"]: tuple(card.get("languages", ())) for card in recognizer_cards()}


def _characters(name: str) -> str:
    return str(read_json(model_file(name, "config.json"), "model")["charset"]["characters"])


def _card(name: str) -> dict[str, Any]:
    folders = model_folders(name) if name in SHIPPED else [find_packages()[name]]
    card = read_json(model_file(name, "card.json"), "model card")
    # The name of the entry point replaces the one in the card.
    properties = {key: value for key, value in card.items() if key != "name"}
    return {"name": name, "megabytes": _megabytes(folders), **properties}


def _is_path(name: str) -> bool:
    """Whether a model is named by its path; a shipped name counts first (``dptr.weights.packages.find_folder``)."""
    path = Path(name)
    if name in SHIPPED or find_folder(name) != path:
        return False
    return os.path.exists(name) or path.name != name or path.suffix == SUFFIX


def _own_card(path: str) -> dict[str, Any]:
    """The card of a folder or of an exported file, in the form of ``model_cards``."""
    folder = Path(path)
    if not folder.exists():
        raise UserError(f"model '{path}': no such file or folder; check the path")
    if folder.is_file() and folder.suffix != SUFFIX:
        raise UserError(f"model '{path}': a file of another kind; pass a folder, or a file that 'dptr export' wrote")
    exported = folder if folder.is_file() else folder / f"model{SUFFIX}"
    if (folder / "card.json").is_file():
        card = read_json(folder / "card.json", "model card")
    elif exported.is_file():
        card = OnnxModel(exported).card
    else:
        inner = sorted(child.parent for child in folder.glob("*/card.json"))
        remedy = f"one that has it, such as {inner[0]}" if inner else "the 'model' folder of a training"
        raise UserError(f"model '{path}': a folder without card.json; pass {remedy}")
    if not _is_card(card):
        raise UserError(f"model '{path}': its card is damaged; copy the model anew")
    properties = {key: value for key, value in card.items() if key != "name"}
    megabytes = exported.stat().st_size / 1e6 if folder.is_file() else _megabytes([folder])
    return {"name": path, "megabytes": megabytes, **properties}


def _is_card(card: Any) -> bool:
    """Whether a card has the keys and the types that are shown of it."""
    if not isinstance(card, dict) or not isinstance(card.get("kind", ""), str):
        return False
    trained_on, results, parameters = card.get("trained_on", []), card.get("results", []), card.get("parameters", 0)
    if not isinstance(trained_on, list) or not isinstance(results, list) or not _is_number(parameters):
        return False
    rates_are_numbers = all(
        isinstance(result, dict)
        and isinstance(result.get("data"), str)
        and all(_is_number(result.get(rate, 0)) for rate in RATES.values())
        for result in results
    )
    return rates_are_numbers and all(isinstance(source, str) for source in trained_on)


def _is_number(value: Any) -> bool:
    """Whether a value is a number that can be shown; JSON has integers of any length, and reads 1e999 as infinity."""
    return isinstance(value, int | float) and abs(value) < MOST_SHOWN


def _check(name: str) -> str:
    if name in SHIPPED or name in find_packages():
        return name
    if name in read_catalog():
        raise UserError(f"model '{name}': dptr-{name} is not installed; {describe_package(name)}")
    raise UserError(f"no model '{name}' ships; there are {', '.join((*SHIPPED, *find_packages()))}")


def _megabytes(folders: list[Path]) -> float:
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir() if file.is_file()) / 1e6
