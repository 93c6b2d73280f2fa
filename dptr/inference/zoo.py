"""Shipped models and installed recognizers: their cards, and the languages that they read."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dptr.text.languages import LANGUAGES, written_languages
from dptr.text.scripts import SCRIPTS, languages_of, scripts_of_language
from dptr.utils.errors import UserError
from dptr.utils.files import read_json
from dptr.weights import SHIPPED, model_file, model_folders
from dptr.weights.packages import Package, describe_package, find_packages, read_catalog


def model_cards(name: str | None = None) -> list[dict[str, Any]]:
    """The cards of all shipped models, or the card of one model, which may be an installed recognizer.

    Returns:
        Each card as in its JSON file (``kind``, ``trained_on``, ``results``, ``version``, ...), after the keys ``name``
        and ``megabytes`` (10^6 bytes, of all installed files).

    Raises:
        UserError: no model of that name is shipped or installed; or it is in dptr-weights, which is not installed.
    """
    names = [shipped for shipped in SHIPPED if model_folders(shipped)] if name is None else [_check(name)]
    return [_card(each) for each in names]


def recognizer_cards() -> list[dict[str, Any]]:
    """The cards of the installed recognizers (``dptr.weights.packages``), in the form of ``model_cards``."""
    return [_card(name) for name in find_packages() if name not in SHIPPED]


def missing_recognizers() -> list[Package]:
    """The recognizers that this project builds, but that are not installed."""
    return [package for name, package in read_catalog().items() if name not in find_packages()]


def model_readme(name: str) -> str | None:
    """The README of a model, in Markdown; None if its folder has none.

    Raises:
        UserError: see ``model_cards``.
    """
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


def _check(name: str) -> str:
    if name in SHIPPED or name in find_packages():
        return name
    if name in read_catalog():
        raise UserError(f"model '{name}': dptr-{name} is not installed; {describe_package(name)}")
    raise UserError(f"no model '{name}' ships; there are {', '.join((*SHIPPED, *find_packages()))}")


def _megabytes(folders: list[Path]) -> float:
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir() if file.is_file()) / 1e6
