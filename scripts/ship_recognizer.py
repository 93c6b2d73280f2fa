"""Make an installable distribution of a recognizer, which 'dptr read --lang CODE' then uses.

    python scripts/ship_recognizer.py runs/cyrillic cyrillic                # a run of dptr new-language
    python scripts/ship_recognizer.py models/dptr-latin latin --test crops  # a model's folder, and crops to judge it on

The script writes recognizers/NAME with the ONNX file (float16 weights; 8 bits with --int8; computing in 8 bits with
--static), the card with the test accuracy, a page, and a sheet of test crops with their readings. It adds the name to
dptr/weights/recognizers.json and, as an extra, to pyproject.toml; the extra ``languages`` contains all recognizers. If
--out is another folder than recognizers, these two files do not change. Needs [train] and [export].
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from ship import calibrate_file, recalibrate, replace_card, without_paths

from dptr import __version__
from dptr.config.render import CorpusConfig
from dptr.data.labeled import open_labeled
from dptr.evaluation.evaluate import evaluate
from dptr.evaluation.metrics import protocol
from dptr.export import export
from dptr.inference.reader import Reader
from dptr.inference.rescore import FILE as NGRAMS
from dptr.models.checkpoint import card_of, load_recognizer, open_checkpoint, save_checkpoint
from dptr.new_language.chain import MANIFEST
from dptr.synth import FontIndex, draw_labeled_sheet, find_fonts
from dptr.text.charset import SPACED
from dptr.text.corpus import Corpus
from dptr.text.languages import LANGUAGES, written_languages
from dptr.text.ngrams import can_count, fit_word_list
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, write_json
from dptr.utils.resize import to_array
from dptr.utils.terminal import markdown_table
from dptr.weights import SHIPPED
from dptr.weights.packages import CATALOG, GROUP

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "recognizers"
LARGEST = 8.0  # megabytes of an ONNX file
PARITY = 128  # crops for the comparison of the file with the checkpoint
SHOWN, HIGH, WIDE = 48, 32, 160  # crops on the sheet; largest height and width of each, in pixels
MARKER = "# recognizers of other scripts, by scripts/ship_recognizer.py\n"
PUBLISHED = (
    "Apache-2.0. Image encoder and head continue from those of PP-OCRv6_rec_small by the authors of PaddleOCR, under "
    "Apache-2.0, as PyPI's rapidocr 3.10.0 holds it. "
)
OWN = "Apache-2.0. Its weights continue from those of `dptr-en` alone, which were trained by this project."
CHANGES = (
    "Their weights were changed by training and rounded. The head has the characters of this recognizer alone, and "
    "rows of those that PP-OCRv6 lacks were added."
)
SPELLING = (
    f" `{NGRAMS}` holds counts of letter sequences in lists of words: of wordfreq (CC BY-SA 4.0), under CC BY-SA 4.0, "
    "and of CLDR (Unicode License v3)."
)
PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "dptr-{name}"
version = "{version}"
description = "A recognizer for DPTR: {about}"
readme = "dptr_{module}/README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.11"
authors = [{{ name = "The DPTR authors" }}]
classifiers = [
    "Development Status :: 4 - Beta",
    "Intended Audience :: Developers",
    "Intended Audience :: Science/Research",
    "Operating System :: OS Independent",
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3 :: Only",
    "Topic :: Scientific/Engineering :: Image Recognition",
]

[project.entry-points."{group}"]
{name} = "dptr_{module}"

[tool.hatch.build.targets.wheel]
packages = ["dptr_{module}"]
"""


def main() -> None:
    """Read the arguments, and make the distribution."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a run of dptr new-language, or a model's folder")
    parser.add_argument("name", help="the name of the recognizer, such as cyrillic")
    parser.add_argument("--test", type=Path, help="labeled crops that no training has used; default: those of the run")
    parser.add_argument("--note", action="append", default=[], help="a line for 'trained_on'")
    parser.add_argument("--shown", type=Path, help="crops for the sheet; default: those of --test")
    parser.add_argument("--fonts", nargs="*", default=[], help="fonts for the words on the sheet")
    parser.add_argument(
        "--int8", action="store_true", help="store weights in 8 bits; the card has the accuracy of this file"
    )
    parser.add_argument(
        "--static", type=Path, help="validation crops: compute in 8 bits, with ranges and confidences from them"
    )
    parser.add_argument("--out", type=Path, default=HOME, help="default: recognizers")
    options = parser.parse_args()
    if options.int8 and options.static:
        parser.error("--int8 and --static: a file computes in float32 or in 8 bits; leave one of the two out")
    try:
        folder = ship(
            options.source,
            options.name,
            options.test,
            options.note,
            options.out,
            options.int8,
            options.fonts,
            options.shown,
            options.static,
        )
    except UserError as error:
        sys.exit(f"ship recognizer: {error}")
    print(folder)


def ship(
    source: Path, name: str, test: Path | None, notes: Sequence[str], out: Path, int8: bool = False,
    fonts: Sequence[str] = (), shown: Path | None = None, static: Path | None = None,
) -> Path:  # fmt: skip
    """Write the distribution of a recognizer, and replace an earlier one.

    Args:
        source: a run of ``dptr new-language``, or a checkpoint's folder.
        name: lower-case ASCII letters, digits, and hyphens.
        test: labeled crops; None = those of the run.
        notes: lines for the card's ``trained_on``.
        out: the parent folder; the distribution is its subfolder ``name``.
        int8: store the weights in 8 bits (``dptr.export.rounding.round_weights``).
        fonts: font files or folders for the text on the sheet; none = those of the recipe, or of the system.
        shown: labeled crops for the sheet; None = those of the test.
        static: labeled crops that calibrate a file that computes in 8 bits (``dptr export --int8 static``), and then
            its confidences; None = it computes in float32.

    Raises:
        UserError: the name is not allowed, there are no test crops, or the file is larger than ``LARGEST``; see
            ``export`` and ``evaluate``.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or name in (*SHIPPED, "weights"):
        raise UserError(f"name '{name}': pass lower-case letters, digits and hyphens, such as cyrillic")
    run = source / "finetune" / "model"
    model, test = (run if run.is_dir() else source), test or source / "test"
    if not test.is_dir():
        raise UserError(f"{test}: no such folder; pass --test with labeled crops that training did not see")
    card = make_card(model, name, notes)
    base = open_checkpoint(model).charset.name.removesuffix(SPACED)
    code = read_json(source / MANIFEST, "run")["code"] if run.is_dir() else base if base in LANGUAGES else ""
    font_paths = fonts or card_of(model).get("recipe", {}).get("render", {}).get("fonts", ())
    with tempfile.TemporaryDirectory(prefix="dptr-recognizer-") as scratch:
        half = Path(scratch) / name
        save_half(model, half, card)
        made = Path(scratch) / "made"
        package = made / f"dptr_{name.replace('-', '_')}"
        package.mkdir(parents=True)
        file = package / "model.onnx"
        numbers: dict[str, Any] = {"int8": "weights"} if int8 else {"half": True}
        crops = test
        if static is not None:
            numbers, crops = {"int8": "static"}, static
        _, parity = export(half, file, [crops], min(PARITY, len(open_labeled(crops))), **numbers)
        assert parity is not None
        print(f"{name}: {parity.describe()}")
        if static is not None:
            card = recalibrate(card, calibrate_file(file, [static]))
        write_ngrams(model, package / NGRAMS)
        card["results"] = [judge(file, test, name, code or "native")]
        replace_card(file, card)
        size = file.stat().st_size / 1e6
        if size > LARGEST:
            raise UserError(f"{name}: {size:.1f} MB; a recognizer has {LARGEST:g} MB at most; train a smaller one")
        write_json(package / "card.json", card)
        existing_fonts = [path for path in font_paths if Path(path).exists()]
        write_sheet(file, shown or test, card["results"][0]["protocol"], existing_fonts, package / "sheet.png")
        write_texts(made, package, name, card, size)
        target = out / name
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(made, target)
    if out == HOME:
        register(name, card, target)
    return target


def make_card(model: Path, name: str, notes: Sequence[str]) -> dict[str, Any]:
    """The card of the checkpoint, with additional entries for users and without paths of this machine."""
    base, loaded = without_paths(card_of(model)), load_recognizer(model)
    assert isinstance(base, dict)
    return base | {
        "name": name,
        "version": __version__,
        "created": datetime.date.today().isoformat(),
        "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True, cwd=ROOT).strip(),
        "trained_on": [*base.get("trained_on", ()), *notes],
        "languages": list(written_languages(loaded.tokenizer.charset.characters)),
        "characters": len(loaded.tokenizer.charset),
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
    }


def save_half(model: Path, out: Path, card: dict[str, Any]) -> None:
    """Save the checkpoint with float16 weights."""
    checkpoint, loaded = open_checkpoint(model), load_recognizer(model)
    save_checkpoint(
        out, "recognizer", loaded.model, loaded.config, checkpoint.charset, checkpoint.dual, card, half=True,
        temperature=loaded.temperature,
    )  # fmt: skip


def write_ngrams(model: Path, out: Path) -> None:
    """Write the n-grams of the words that were rendered, for a CTC network."""
    loaded = load_recognizer(model)
    corpus = card_of(model).get("recipe", {}).get("corpus")
    charset = loaded.tokenizer.charset
    if loaded.config.decoder.kind != "ctc" or not corpus or not can_count(charset):
        return
    words = Corpus(CorpusConfig.model_validate(corpus), charset, loaded.tokenizer.max_length, seed=0)
    fit_word_list([*words.list_words()]).save(out)


def judge(model: Path, test: Path, name: str, protocol: str) -> dict[str, Any]:
    """The test result, as an entry of the card."""
    row = evaluate(Reader(model), [test], [protocol]).results[0]
    if row.word_accuracy is None or row.one_minus_ned is None:
        raise UserError(f"{test}: no crop left under protocol {protocol}; check its labels")
    return {
        "data": f"rendered words of {name.capitalize()}, held out",
        "protocol": protocol,
        "n": row.n,
        "word_accuracy": round(row.word_accuracy, 4),
        "one_minus_ned": round(row.one_minus_ned, 4),
    }


def write_sheet(file: Path, test: Path, protocol_name: str, font_files: Sequence[str], out: Path) -> None:
    """Draw the first test crops with their words, and with the readings that differ in red."""
    crops, fold = open_labeled(test), protocol(protocol_name)
    shown = range(min(SHOWN, len(crops)))
    images, labels = [crops.image(row) for row in shown], [crops.label(row) for row in shown]
    fonts = FontIndex(find_fonts(font_files))
    misread = []
    for reading, label in zip(Reader(file).read(images), labels, strict=True):
        drawn = reading.text if fonts.can_draw(reading.text) else ascii(reading.text)
        misread.append("" if fold(reading.text) == fold(label) else drawn)
    samples = [(_small(image), label) for image, label in zip(images, labels, strict=True)]
    draw_labeled_sheet(samples, fonts, misread=misread).save(out, "PNG", optimize=True)


def _small(image: Image.Image) -> Any:
    scale = min(HIGH / image.height, WIDE / image.width)
    return to_array(image, max(1, round(scale * image.height)), max(1, round(scale * image.width)))


def write_texts(made: Path, package: Path, name: str, card: dict[str, Any], size: float) -> None:
    """Write pyproject.toml, the license, the page, and the module."""
    languages = [f"{LANGUAGES[code].name} (`{code}`)" for code in card["languages"]]
    result = card["results"][0]
    about = ", ".join(LANGUAGES[code].name for code in card["languages"]) or f"the characters of {name}"
    accuracy = f"{100 * result['word_accuracy']:.1f} %", f"{100 * result['one_minus_ned']:.1f} %"
    table = markdown_table([("test", "crops", "words", "1-NED"), (result["data"], f"{result['n']:,}", *accuracy)])
    published = "PP-OCRv6" in "".join(card["trained_on"])
    license = PUBLISHED + card.get("changes", CHANGES) if published else OWN
    page = [
        f"# {name}",
        f"A recognizer of word crops for DPTR: {', '.join(languages) or about}.",
        f"It writes {card['characters']:,} characters and has {card['parameters'] / 1e6:.1f} M parameters, in "
        f"{size:.1f} MB. Version {card['version']}, made on {card['created']} at commit {card['commit']}.",
        "## Accuracy",
        table,
        f"Protocol {result['protocol']}: case and punctuation count, spaces do not. The test says nothing about "
        "photographs. `sheet.png` shows rendered crops; what was misread is red.",
        "## Trained on",
        "\n".join(f"- {line}" for line in card["trained_on"]),
        "## License",
        license + (SPELLING if (package / NGRAMS).is_file() else ""),
    ]
    (package / "README.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")
    (package / "__init__.py").write_text('"""A recognizer; ``dptr.weights.packages`` finds it."""\n', encoding="utf-8")
    settings = PROJECT.format(name=name, module=name.replace("-", "_"), version=__version__, about=about, group=GROUP)
    (made / "pyproject.toml").write_text(settings, encoding="utf-8")
    shutil.copy(ROOT / "LICENSE", made / "LICENSE")


def register(name: str, card: dict[str, Any], target: Path) -> None:
    """Add the recognizer to the catalog and the extras of the base package."""
    files = [path for path in target.rglob("*") if path.is_file() and path.parent != target]
    entry = {
        "languages": card["languages"],
        "megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 2),
        "word_accuracy": card["results"][0]["word_accuracy"],
    }
    catalog = read_json(CATALOG, "catalog of recognizers") | {name: entry}
    CATALOG.write_text(json.dumps(dict(sorted(catalog.items())), indent=1) + "\n", encoding="utf-8")
    path = ROOT / "pyproject.toml"
    path.write_text(add_extra(path.read_text(encoding="utf-8"), name), encoding="utf-8")


def add_extra(project: str, name: str) -> str:
    """The text of ``pyproject.toml`` with the extra of a recognizer, which replaces an earlier one, and of all."""
    others = re.sub(rf'^({re.escape(name)} = \["dptr-|languages = ).*\n', "", project, flags=re.MULTILINE)
    added = others.replace(MARKER, f'{MARKER}{name} = ["dptr-{name}>={__version__}"]\n')
    names = sorted(re.findall(r'^(\S+) = \["dptr-\1>=', added, flags=re.MULTILINE))
    return added.replace(MARKER, f'{MARKER}languages = ["dptr[{",".join(names)}]"]\n')


if __name__ == "__main__":
    main()
