"""No option of any command reads a device or a pipe. The options are the parser's, so that new ones are tried too."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import helpers_published as published
import pytest
from helpers_batch import draw_word
from safetensors.torch import save_file

from dptr.cli.app import app, run
from dptr.config.load import flat, load_recipe
from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe, SynthRecipe

resource = pytest.importorskip("resource")  # Windows has neither limits nor named pipes
pytestmark = pytest.mark.timeout(60)

WRITTEN = "out", "html", "overlay", "sheet", "to"
"""Parameters that name what is written. A device or a pipe is written through, where that must not be a folder."""
FILES = re.compile("FILE|DIR|PATH(?!,)|ONNX|PNG|TSV|TGZ|JSON|GLOB|LMDB|INPUT|OUTPUT|SOURCE")
"""In what the help calls a value: it is the name of a file."""
MODEL = {"model": ["--model", "dptr-en-tiny"]}
OUT = {"out": ["--out", "out"]}
DATA = {"data": ["--data", "crops"]}
BATCH = {"source": ["crops"], "out": ["out"], **MODEL}
NEEDS: dict[str, dict[str, list[str]]] = {
    "read": {"images": ["crop.png"], **MODEL},
    "ocr": {"inputs": ["crop.png"], **MODEL},
    "batch read": BATCH,
    "batch ocr": BATCH,
    "batch synth": {"out": ["out"], "count": ["--count", "2"]},
    "serve": {"port": ["--port", "0"], **MODEL},
    "label": {"photos": ["crop.png"], "no_page": ["--no-page"], **OUT, **MODEL},
    "data check": DATA,
    "data build": {"source": ["crops/labels.tsv"], "kind": ["--kind", "table"], **OUT},
    "data stats": DATA,
    "eval": {**DATA, **MODEL},
    "finetune": {**DATA, **OUT},
    "adapt": {"text": ["--text", "words.txt"], **OUT},
    "new-language": {"words": ["--words", "words.txt"], "fonts": ["--fonts", "fonts"], **OUT},
    "synth": {"count": ["--count", "2"], **OUT},
    "align": OUT,
    "bank": {"images": ["--images", "crops"], **OUT},
    "pretrain": OUT,
    "import": {"weights": ["parseq.safetensors"], **OUT},
    "export": {"out": ["--out", "out.onnx"], **MODEL},
    "export-page": {**OUT, **MODEL},
    "bench": MODEL,
}
"""What a command gets beside the parameter that is tried, by parameter."""
SUFFIXES = {
    "model": [".onnx"], "detector": [".onnx"], "weights": [".safetensors"], "fonts": [".ttf"], "paths": [".ttf"],
    "words": [".gz", ".dic"], "text": [".gz"], "images": [".png"], "inputs": [".pdf"],
}  # fmt: skip
"""Of pipes, by parameter; without a suffix they are tried too."""
RECIPES: dict[str, tuple[Any, list[str]]] = {
    "synth": (SynthRecipe, ["--count", "2"]),
    "align": (AlignRecipe, []),
    "pretrain": (PretrainRecipe, []),
    "finetune": (FinetuneRecipe, ["--data", "crops", "--set", "data.rendered=0.5", "--set", "forgetting.rendered=0"]),
    "adapt": (AdaptRecipe, ["--text", "words.txt"]),
}
RESTING = (
    "corpus.cache",  # read where there are shards
    "co_training.decoder.kind",  # read where there is co-training
)
MORE = (
    "synth --count 2 -o out --set corpus.sources=[{kind='file',path='@'}]",
    "synth --count 2 -o out --set corpus.sources=[{kind='hunspell',path='@'}]",
    "data build @ --kind textocr -o out", "data build @ --kind svt -o out",
)  # fmt: skip
MEMORY = 4 << 30  # bytes beyond those of the process: what is read without an end ends there


def find_commands(command: click.Command = app, *words: str) -> Iterator[tuple[str, click.Command]]:
    """All commands, by what is typed."""
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from find_commands(each, *words, name)
    else:
        yield " ".join(words), command


COMMANDS = dict(find_commands())
PATHS = [
    (name, parameter)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if isinstance(parameter.type, click.Path)
    and (parameter.name not in WRITTEN or (parameter.required and parameter.metavar != "FILE"))  # a folder
]


def find_keys(recipe: str) -> list[str]:
    """Dotted keys that hold words, or none yet."""
    values = flat(load_recipe(RECIPES[recipe][0]).model_dump(mode="json"))
    words = {key: value if isinstance(value, list) else [value] for key, value in values.items()}
    return [key for key, value in words.items() if not value or isinstance(value[0], str)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What commands are given, and pipes that nobody writes to."""
    made = tmp_path_factory.mktemp("files")
    words = [f"{first}{second}{third}" for first in "abcdef" for second in "ghijk" for third in "lmno"]
    (made / "crops").mkdir()
    (made / "crop.png").write_bytes(draw_word("open"))
    for number in range(20):
        (made / "crops" / f"{number}.png").write_bytes(draw_word(words[number]))
    (made / "crops" / "labels.tsv").write_text("".join(f"{number}.png\t{words[number]}\n" for number in range(20)))
    (made / "words.txt").write_text("".join(f"{word}\n" for word in words))
    (made / "fonts").symlink_to(Path(__file__).parents[1] / "fonts")
    save_file(published.weights(published.MODELS["parseq"]), made / "parseq.safetensors")
    for suffix in {"", *(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)}:
        os.mkfifo(made / f"pipe{suffix}")
    return made


@pytest.fixture
def refuses(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Iterator[Any]:
    """Run a command that names a device or a pipe: it ends in a line about it."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("dptr.new_language.chain.TEST", 8)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))

    def check(name: str, words: list[str]) -> None:
        assert run(words) == 2, words
        told = capsys.readouterr()
        assert told.out == "" and "Traceback" not in told.err
        assert any(line.startswith("dptr: error: ") and name in line for line in told.err.splitlines()), told.err
        shutil.rmtree("out", ignore_errors=True)

    yield check
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize(
    ("command", "parameter"), [pytest.param(*each, id=f"{each[0]} {each[1].opts[-1]}") for each in PATHS]
)
def test_no_option_reads_a_device_or_a_pipe(command: str, parameter: click.Parameter, refuses: Any) -> None:
    assert parameter.name
    others = (parameter.name, "images" if parameter.name == "pack" else "")  # either of the two
    given = {name: words for name, words in NEEDS.get(command, {}).items() if name not in others}
    beside = [word for words in given.values() for word in words]
    dashed = [] if isinstance(parameter, click.Argument) else parameter.opts[-1:]
    for name in ("/dev/zero", "pipe", *(f"pipe{suffix}" for suffix in SUFFIXES.get(parameter.name, []))):
        refuses(name, [*command.split(), *dashed, name, *beside])


def test_values_that_name_files_are_paths_to_the_parser() -> None:
    """So that the test above tries them, and the shell completes them."""
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if isinstance(parameter.type, click.types.StringParamType):
                assert not FILES.search(str(parameter.metavar)), f"{name} {parameter.name}"


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "key"), [(recipe, key) for recipe in RECIPES for key in find_keys(recipe)])
def test_no_key_of_a_recipe_reads_a_device_or_a_pipe(recipe: str, key: str, refuses: Any) -> None:
    if key in RESTING:
        pytest.skip("not read by this recipe")
    held = flat(load_recipe(RECIPES[recipe][0]).model_dump(mode="json"))[key]
    for name in ("/dev/zero", "pipe"):
        value = f"'{name}'" if isinstance(held, str) else f"['{name}']"
        given = [] if key in ("data.train", "text") else RECIPES[recipe][1]  # options go before recipes
        refuses(name, [recipe, "--out", "out", *given, "--set", f"{key}={value}"])


@pytest.mark.parametrize("arguments", MORE)
def test_no_source_reads_a_device_or_a_pipe(arguments: str, refuses: Any) -> None:
    for name in ("/dev/zero", "pipe"):
        refuses(name, arguments.replace("@", name).split())
