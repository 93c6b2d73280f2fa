"""What the documents say is what the project does: each command, block, link, path, and number in them.

Every shell line of every document is parsed against the real command line. What needs no training is executed, from
README, quickstart, and guides, in a folder with a few crops; ``make slow`` executes the trainings too, two steps each.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from helpers_docs import (
    DOCUMENTS,
    LAUNCHERS,
    ROOT,
    SCHEMAS,
    SHELL,
    Block,
    Command,
    blocks,
    check_recipe,
    commands,
    name,
    parsed,
)
from PIL import Image, ImageDraw, ImageFont, ImageOps

from dptr.cli.app import app
from dptr.config.load import load_recipe
from dptr.inference.reader import Reader
from dptr.text.languages import read_language

PAGES = [
    *DOCUMENTS,
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("dptr/weights/*/README.md")),
    *sorted(ROOT.glob("models/*/README.md")),
]
LIVING = [page for page in PAGES if page.name not in ("LOG.md", "CHANGELOG.md")]  # history names what was
GUIDES = [ROOT / "README.md", ROOT / "docs" / "quickstart.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
OTHERS = {
    "pip",
    "hf",
    "git",
    "cd",
    "cat",
    "tar",
    "split",
    "time",
    "curl",
    "openssl",
    "podman",
    "systemctl",
}  # programs that are not ours
CHEAP = {"", "read", "eval", "models", "data check", "data stats", "fonts"}  # executed by make test
SMALL = {  # settings that make make slow's trainings short
    "align": ["run.steps=2", "run.batch_size=8", "run.validate_every=2", "run.workers=0"],
    "pretrain": ["run.steps=2", "run.batch_size=8", "run.validate_every=2"],
    "finetune": [
        "run.steps=2",
        "run.batch_size=8",
        "run.validate_every=2",
        "run.workers=0",
        "data.validation_share=0.2",
    ],
    "adapt": ["run.steps=2", "run.batch_size=8", "run.validate_every=2", "domain_crops=16", "language_crops=16"],
}
COUNTS = {"synth": "--count=64", "bank": "--count=32", "export": "--crops=8", "bench": "--repeats=1"}
WORDS = "open EXIT Hotel 24h taxi BAKERY stop menu Room 305 pull push sale Cafe door NORTH east west 1978 home"
MODELS = {"dptr-latin", "dptr-en", "dptr-en-tiny", "models/dptr-en-lines", "models/dptr-en-small"}


# --- blocks and commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_command_exists(document: Path, tmp_path: Path) -> None:
    files = recipes_shown(document)
    for command in commands(document):
        check_command(command, files, tmp_path)


def check_command(command: Command, files: dict[str, str], folder: Path) -> None:
    """Fails where a command line names a command, option, key, recipe, script, target, or extra that does not exist."""
    first = command.words[0]
    if command.dptr is not None:
        try:
            check_recipe(*parsed(command.dptr), files, folder)
        except Exception as error:
            raise AssertionError(f"{command}: {error}") from error
    elif first == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(command.words[1:]) <= targets, command
    elif first == "python":
        if command.words[1] == "-m":
            importlib.import_module(command.words[2])
            return
        check_script(command)
    elif first == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        wanted = {
            extra for word in command.words for listed in re.findall(r"\[(.*)\]", word) for extra in listed.split(",")
        }
        assert wanted <= set(extras), command
    elif "/" in first:
        assert os.access(ROOT / first, os.X_OK), f"{command}: no such script"
    else:
        assert first in OTHERS or first in LAUNCHERS, f"{command}: unknown program"


def check_script(command: Command) -> None:
    """A script exists, and each option stands in its source or in that of a script beside it."""
    script = ROOT / command.words[1]
    assert script.exists(), f"{command}: no such script"
    source = "\n".join(one.read_text(encoding="utf-8") for one in {script, *script.parent.glob("*.py")})
    for word in command.words[2:]:
        if word.startswith("--"):
            assert f'"{word.partition("=")[0]}"' in source, f"{command}: no option {word}"


@pytest.mark.parametrize("document", LIVING, ids=name)
def test_commands_in_sentences_exist(document: Path) -> None:
    """Commands and options of code spans, which may leave arguments out."""
    group: click.Command = app
    for span in spans(document):
        words = span.split()
        if words[0] != "dptr" or len(words) < 2 or not re.fullmatch(r"[a-z]+", words[1]):
            continue
        command = group
        rest = words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        assert command is not group, f"{name(document)}: `{span}`: no such command"
        known = {
            option
            for parameter in getattr(command, "params", [])
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        unknown = {word.partition("=")[0] for word in rest if word.startswith("--")} - known
        assert not unknown, f"{name(document)}: `{span}`: no option {unknown}"


def recipes_shown(document: Path) -> dict[str, str]:
    """The TOML blocks of a document by the file name that the text before them gives."""
    found = {}
    text = document.read_text(encoding="utf-8")
    for block in re.finditer(r"`([\w-]+\.toml)`[^`]*\n\s*```toml\n(.*?)```", text, re.DOTALL):
        found[block[1]] = block[2]
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_blocks_are_valid(document: Path, tmp_path: Path) -> None:
    for block in blocks(document):
        check_block(block, tmp_path)


def check_block(block: Block, folder: Path) -> None:
    where = f"{name(block.document)}:{block.line}"
    if block.language == "python":
        text = block.text if block.text[:1].strip() else "{" + block.text + "}"  # a line of a dict
        ast.parse(text, where)
    elif block.language == "toml":
        (folder / "shown.toml").write_text(block.text, encoding="utf-8")
        if tomllib.loads(block.text).keys() & {"letters", "union"}:
            assert read_language(folder / "shown.toml").charset
            return
        for command in SCHEMAS.keys() - {"synth"}:  # what is shown serves all stages of training
            load_recipe(SCHEMAS[command], folder / "shown.toml")
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "js":
        assert block.file, f"{where}: a script without a test (tests/browser/test_scripts_in_node.py)"
    else:
        assert block.language in (*SHELL, "text", "bibtex"), f"{where}: unknown language {block.language}"


# --- executed ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the documents name: crops with labels, words, a charset, photographs."""
    root = tmp_path_factory.mktemp("docs")
    words = WORDS.split()
    for part in ("train", "test"):
        crops = root / "crops" / part
        (crops / "images").mkdir(parents=True)
        lines = []
        for number, word in enumerate(words if part == "train" else [word[::-1] for word in words]):
            draw_word(word, number).save(crops / "images" / f"{number:04}.png")
            lines.append(f"images/{number:04}.png\t{word}")
        (crops / "labels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw_word("Hello", 7).save(root / "crop.png")
    draw_word("Hello", 7).save(root / "photo.jpg")
    draw_word("Hello", 7).save(root / "scan.pdf")
    (root / "scans").mkdir()
    draw_word("Hello", 7).save(root / "scans" / "page.png")
    shutil.copytree(root / "crops" / "test" / "images", root / "folder" / "of" / "crops")
    for name_, source in (("photographs/train", "train"), ("receipts/train", "train")):
        shutil.copytree(root / "crops" / source, root / name_)
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 255, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((256, 192)).save(root / "photographs" / f"{number}.png")
    (root / "words.txt").write_text("Hauptstraße\nLindenweg\nBergstraße\n" * 4, encoding="utf-8")
    (root / "names.txt").write_text("Hello\nHallo\nBonjour\n", encoding="utf-8")
    (root / "chars.txt").write_text("".join(map(chr, range(33, 127))) + "äöüÄÖÜß", encoding="utf-8")
    for document in GUIDES:
        for file, text in recipes_shown(document).items():
            (root / file).write_text(text, encoding="utf-8")
    return root


def draw_word(word: str, number: int) -> Image.Image:
    picture = Image.new("RGB", (30 + 22 * len(word), 48), (235, 230, 220 - number))
    ImageDraw.Draw(picture).text((12, 6), word, fill=(20, 30, 60), font=ImageFont.load_default(32))
    return picture


def execute(arguments: list[str], folder: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout
    )


def inputs_exist(arguments: list[str], folder: Path) -> bool:
    """Whether all data and models that a command line reads are there."""
    _, parameters = parsed(arguments)
    values = [parameters.get(key) for key in ("images", "data", "more", "paths", "against", "sources", "directories")]
    paths = [str(path) for value in values if value for path in (value if isinstance(value, list | tuple) else [value])]
    model = str(parameters.get("model") or "dptr-en")
    return all((folder / path).exists() for path in paths) and (model in MODELS or (folder / model).exists())


@pytest.mark.parametrize("document", GUIDES, ids=name)
def test_what_needs_no_training_is_executed(document: Path, folder: Path) -> None:
    """Exit codes: 1 is ``dptr data check`` that found something."""
    shown = [(command, command.dptr) for command in commands(document)]
    for command, arguments in shown:
        if arguments is None or parsed(arguments)[0] not in CHEAP or not inputs_exist(arguments, folder):
            continue
        done = execute(["-m", "dptr", *arguments], folder)
        allowed = (0, 1) if arguments[:2] == ["data", "check"] else (0,)
        assert done.returncode in allowed, f"{command}\n{done.stderr[-1000:]}"
        assert done.stdout or "--sheet" in arguments, command


@pytest.mark.parametrize("model", ["dptr-latin", "dptr-en"])
def test_the_program_without_dptr_reads_what_dptr_reads(model: str, folder: Path) -> None:
    (program,) = [block.text for block in blocks(ROOT / "docs" / "export.md") if block.file == "read_word.py"]
    assert "import dptr" not in program
    (folder / "read_word.py").write_text(program, encoding="utf-8")
    file = ROOT / "dptr" / "weights" / model / "model.onnx"
    shapes = [draw_word("taxi", 1).resize((190, 40)), draw_word("305", 1).resize((40, 40))]
    shapes += [draw_word("Hauptbahnhof", 1).resize((700, 40)), draw_word("AB-1233.", 1).resize((150, 40))]
    shapes += [draw_word("Tie", 1).resize((160, 96))]  # as near to 64 x 48 as to 96 x 48
    ink = ImageOps.invert(draw_word("Alpha", 1).convert("L"))
    shapes += [Image.merge("RGBA", [Image.new("L", ink.size)] * 3 + [ink])]  # black letters on nothing
    for shape in shapes:
        shape.save(folder / "shaped.png")
        done = execute(["read_word.py", str(file), "shaped.png"], folder)
        text, product, confidence = done.stdout.rsplit(maxsplit=2)
        expected = Reader(str(file), turn=False, rescore=False).read(folder / "shaped.png")
        assert text == expected.text, done.stderr
        assert float(product) == pytest.approx(expected.product, abs=1e-5)
        assert float(confidence) == pytest.approx(expected.confidence, abs=1e-5)


@pytest.mark.parametrize("document", GUIDES, ids=name)
def test_python_of_guides_is_executed(document: Path, folder: Path) -> None:
    if document.name == "quickstart.md":  # it reads what dptr synth has rendered
        (folder / "words" / "images").mkdir(parents=True, exist_ok=True)
        shutil.copytree(
            folder / "crops" / "test" / "images", folder / "words" / "images" / "000000", dirs_exist_ok=True
        )
    for block in blocks(document):
        if block.language == "python":
            done = execute(["-c", block.text], folder)
            assert done.returncode == 0 and done.stdout, f"{name(document)}:{block.line}\n{done.stderr[-1000:]}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("document", GUIDES, ids=name)
def test_guides_run_from_top_to_bottom(document: Path, folder: Path, tmp_path: Path) -> None:
    """All ``dptr`` commands in order, trainings a few steps long; what needs a download or DPTR_DATA is left out."""
    here = tmp_path / "run"
    shutil.copytree(folder, here, ignore=shutil.ignore_patterns("words", "runs"))
    (here / "models").symlink_to(ROOT / "models")
    for command in commands(document):
        arguments = command.dptr
        if arguments is None or re.search(r"openai/|\$DPTR_DATA|path/to/more", " ".join(arguments)):
            continue
        kind, parameters = parsed(arguments)
        serves = kind == "label" and not (parameters["no_page"] or parameters["style"])
        if kind == "serve" or serves:  # it does not end; tests/serve runs it
            continue
        if kind == "new-language" or "runs/georgian" in " ".join(arguments):  # tests/new_language runs it
            continue
        if parameters.get("config") and not (here / parameters["config"]).exists():
            continue
        counts = [COUNTS[kind]] if kind in COUNTS else []
        done = execute(["-m", "dptr", *shorten(arguments, SMALL.get(kind, [])), *counts], here, timeout=900)
        allowed = (0, 1) if kind == "data check" else (0,)
        assert done.returncode in allowed, f"{command}\n{done.stderr[-2000:]}"


def shorten(arguments: list[str], settings: list[str]) -> list[str]:
    """A command with ``settings``, and without its own settings of the same keys."""
    keys = {setting.partition("=")[0] for setting in settings}
    own = [place for place, word in enumerate(arguments) if word == "--set"]
    dropped = {place for place in own if arguments[place + 1].partition("=")[0] in keys}
    kept = [word for place, word in enumerate(arguments) if not {place, place - 1} & dropped]
    return [*kept, *(word for setting in settings for word in ("--set", setting))]


# --- links, paths, names ----------------------------------------------------------------------------------------------


def prose(page: Path) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^\s*```.*?^\s*```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def spans(page: Path) -> list[str]:
    return [span for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page)) if span.strip()]


def anchors(page: Path) -> set[str]:
    """As GitHub and Python-Markdown make them of headings in ASCII."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{name(page)}: {link}"
        if page.is_relative_to(ROOT / "docs"):
            assert target.is_relative_to(ROOT / "docs"), f"{name(page)}: {link} leaves the site"


@pytest.mark.parametrize("page", LIVING, ids=name)
def test_paths_named_exist(page: Path) -> None:
    tops = "bench|docs|dptr|models|recipes|research|scripts|tests"
    for span in spans(page):
        for path in re.findall(rf"(?<![\w/.$-])(?:{tops})/[\w./*-]+", span):
            assert list(ROOT.glob(path.rstrip("./"))) or (ROOT / path).exists(), f"{name(page)}: `{span}`"


@pytest.mark.parametrize("page", LIVING, ids=name)
def test_modules_named_exist(page: Path) -> None:
    named = [span for span in spans(page) if re.fullmatch(r"dptr(\.\w+)+(\(\))?", span)]
    named += re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    for dotted in named:
        if dotted.endswith((".py", ".toml")):
            continue
        assert resolves(dotted), f"{name(page)}: {dotted}"


def resolves(dotted: str) -> bool:
    parts = dotted.removesuffix("()").split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


# --- numbers ----------------------------------------------------------------------------------------------------------


def model_table(page: Path) -> dict[str, list[str]]:
    """The cells of the table of models by the model's name, without footnotes and remarks."""
    table = re.search(r"^\| model \| parameters \|.*?\n\n", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert table, f"{name(page)}: no table of models"
    rows = {}
    for line in table[0].splitlines()[2:]:
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        key = re.search(r"`([^`]+)`", first)
        rows[key[1] if key else first] = [re.sub(r" [\[(].*", "", cell) for cell in cells]
    return rows


def test_the_models_of_readme_and_results_are_the_same() -> None:
    readme = model_table(ROOT / "README.md")
    readme.pop(next(key for key in readme if key.startswith("*Published")))
    results = model_table(ROOT / "docs" / "RESULTS.md")
    results.pop(next(key for key in results if key.startswith("*Published")))
    assert readme == results


@pytest.mark.parametrize("model", sorted(MODELS))
def test_numbers_of_our_models_are_those_of_their_cards(model: str) -> None:
    folder = ROOT / (model if "/" in model else f"dptr/weights/{model}")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    parameters, megabytes, _, iiit5k, ic15, _ = model_table(ROOT / "README.md")[model]
    measured = {row["data"]: row for row in card["results"] if row["protocol"] == "36"}
    assert parameters == f"{card['parameters'] / 1e6:.1f} M"
    assert iiit5k == f"{100 * measured['iiit5k/test']['word_accuracy']:.2f}" and measured["iiit5k/test"]["n"] == 3000
    assert ic15 == f"{100 * measured['ic15/test']['word_accuracy']:.2f}" and measured["ic15/test"]["n"] == 2077
    if (folder / "model.onnx").exists():
        assert megabytes == f"{(folder / 'model.onnx').stat().st_size / 1e6:.1f} MB"


def test_results_are_one_page_of_short_lines() -> None:
    text = prose(ROOT / "docs" / "RESULTS.md")
    assert len((ROOT / "docs" / "RESULTS.md").read_text(encoding="utf-8").splitlines()) <= 160
    for line in text.splitlines():
        if not line.startswith("|"):
            assert len(line.split()) <= 30, line
