"""Write a software bill of materials as CycloneDX JSON: an environment's distributions, and DPTR's fonts and models.

``cyclonedx-py`` lists the distributions and their licenses. It cannot see the fonts and models in DPTR's packages. This
script adds them to the components of these packages, each with its license.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FONTS = ROOT / "dptr" / "synth" / "embedded" / "FONTS.md"
FOLDERS = {"dptr": ROOT / "dptr" / "weights", "dptr-weights": ROOT / "weights" / "dptr_weights"}  # of models
VALIDATE = """
import pathlib, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
sys.exit(str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) or "") or None)
"""


def write_bill(tools: Path, python: Path, path: Path) -> None:
    """Write the bill of materials of an environment.

    Args:
        tools: the folder of programs of an environment with cyclonedx-bom.
        python: the interpreter of the environment to describe.
        path: the output file.

    Raises:
        subprocess.CalledProcessError: cyclonedx-py failed, or the result is not valid.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ("--output-reproducible", "--spec-version", "1.6", "--output-format", "JSON", "--output-file", str(path))
    subprocess.run([str(tools / "cyclonedx-py"), "environment", *options, str(python)], check=True)
    bill = json.loads(path.read_text(encoding="utf-8"))
    for component in bill["components"]:
        if component["name"] in FOLDERS:
            links = component.pop("externalReferences", [])
            component["externalReferences"] = [link for link in links if not link["url"].startswith("file:")]
            component["components"] = [*_models(component["name"]), *(_fonts() if component["name"] == "dptr" else [])]
    path.write_text(json.dumps(bill, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    subprocess.run([str(tools / "python"), "-c", VALIDATE, str(path)], check=True)


def _models(package: str) -> list[dict[str, Any]]:
    """The models in a package, as their cards describe them. A card may be in either package."""
    cards = [
        folder / name.parent.name / "card.json"
        for folder in FOLDERS.values()
        for name in FOLDERS[package].glob("*/model.*")
    ]
    read = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in cards if path.exists()}
    return [
        {
            "type": "machine-learning-model",
            "name": name,
            "version": card["version"],
            "description": f"trained on: {'; '.join(card['trained_on'])}",
            "licenses": [{"license": {"id": "Apache-2.0"}}],
        }
        for name, card in sorted(read.items())
    ]


def _fonts() -> list[dict[str, Any]]:
    """The embedded fonts, as FONTS.md lists them: family, file, source, license."""
    rows = re.findall(
        r"^\| (.+?) \| `(.+?)` \| npm's (\S+?)@([\d.]+), .*? \| (\S+?),",
        FONTS.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return [
        {
            "type": "file",
            "name": f"{family} ({file})",
            "version": version,
            "description": f"a subset of the font in {source}",
            "licenses": [{"license": {"id": license}}],
        }
        for family, file, source, version, license in rows
    ]
