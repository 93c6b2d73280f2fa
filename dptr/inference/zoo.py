"""The models that ship and the recognizers that are installed: what is known of each, and which languages it reads."""

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
    """The cards of all models that ship and are installed, or of one, which may be a recognizer of another script.

    Returns:
        Each card as JSON holds it (``kind``, ``trained_on``, ``results``, ``version``, ...), after the keys ``name``
        and ``megabytes`` (10^6 bytes, of all files that are installed).

    Raises:
        UserError: no model of that name ships or is installed, or it is in dptr-weights, which is not installed.
    """
    names = [shipped for shipped in SHIPPED if model_folders(shipped)] if name is None else [_check(name)]
    return [_card(each) for each in names]


def recognizer_cards() -> list[dict[str, Any]]:
    """The cards of the installed recognizers of other scripts (``dptr.weights.packages``), as ``model_cards``."""
    return [_card(name) for name in find_packages() if name not in SHIPPED]


def missing_recognizers() -> list[Package]:
    """The recognizers that this project builds and that are not installed."""
    return [package for name, package in read_catalog().items() if name not in find_packages()]


def model_readme(name: str) -> str | None:
    """All that is known of a model, in Markdown; None where its folder has no such page.

    Raises:
        UserError: see ``model_cards``.
    """
    page = model_file(_check(name), "README.md")
    return page.read_text(encoding="utf-8") if page.exists() else None


def find_recognizer(language: str) -> str:
    """The name of the installed recognizer that reads a language; of several the one of fewest languages.

    Args:
        language: a key of ``LANGUAGES``.

    Raises:
        UserError: no such language, or no recognizer that reads it is installed; the error says how to get one.
    """
    if language not in LANGUAGES:
        names = {LANGUAGES[code].name.casefold(): code for code in LANGUAGES}
        alike = difflib.get_close_matches(language.casefold(), [*names, *LANGUAGES], 1)
        hint = f"; did you mean {names.get(alike[0], alike[0])}?" if alike else ""
        raise UserError(f"language '{language}': not one of the {len(LANGUAGES)} codes of docs/languages.md{hint}")
    able = {name: codes for name, codes in read_languages().items() if language in codes}
    if able:
        return min(able, key=lambda name: len(able[name]))
    raise UserError(
        f"language '{language}': no recognizer that reads {LANGUAGES[language].name} is installed; "
        f"{_how_to_get([language])}"
    )


def find_script_recognizers() -> dict[str, str]:
    """The installed recognizer that reads a script, by script; scripts that none reads are missing.

    Of several, the one that reads most of its languages counts, of these the one of fewest languages in all, and of
    these the first that ships. A language of that script alone counts before one of several: Han alone is Chinese where
    a recognizer reads it, else Japanese.
    """
    read = read_languages()
    found = {}
    for script in SCRIPTS:
        alone = {code for code in languages_of(script) if scripts_of_language(code) == (script,)}
        able = {name: {*codes} & {*languages_of(script)} for name, codes in read.items()}
        names = [name for name, codes in able.items() if codes]
        if names:
            found[script] = min(names, key=lambda name: (-len(able[name] & alone), -len(able[name]), len(read[name])))
    return found


def describe_missing_script(script: str) -> str:
    """That no installed recognizer reads a script, and how to get one."""
    alone = [code for code in languages_of(script) if scripts_of_language(code) == (script,)]
    return f"{script} letters: no recognizer that reads them is installed; {_how_to_get(alone or languages_of(script))}"


def _how_to_get(languages: Sequence[str]) -> str:
    """How to get a recognizer of one of some languages: of the first that a package reads, or of the first."""
    for package in missing_recognizers():
        if {*languages} & {*package.languages}:
            return describe_package(package.name)
    return f"make one: dptr new-language {languages[0]} --out runs/{languages[0]}"


def read_languages() -> dict[str, tuple[str, ...]]:
    """The languages that each installed recognizer reads, those that ship first: as its card says, or its charset."""
    shipped = [name for name in SHIPPED if model_folders(name) and model_file(name, "model.onnx").is_file()]
    found = {name: written_languages(_characters(name)) for name in shipped}
    return found | {card["name"]: tuple(card.get("languages", ())) for card in recognizer_cards()}


def _characters(name: str) -> str:
    return str(read_json(model_file(name, "config.json"), "model")["charset"]["characters"])


def _card(name: str) -> dict[str, Any]:
    folders = model_folders(name) if name in SHIPPED else [find_packages()[name]]
    held = read_json(model_file(name, "card.json"), "model card")
    about = {key: value for key, value in held.items() if key != "name"}  # that of the entry point counts
    return {"name": name, "megabytes": _megabytes(folders), **about}


def _check(name: str) -> str:
    if name in SHIPPED or name in find_packages():
        return name
    if name in read_catalog():
        raise UserError(f"model '{name}': dptr-{name} is not installed; {describe_package(name)}")
    raise UserError(f"no model '{name}' ships; there are {', '.join((*SHIPPED, *find_packages()))}")


def _megabytes(folders: list[Path]) -> float:
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir() if file.is_file()) / 1e6
