"""What the documents show: their fenced blocks, and the command lines in them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dptr.cli.app import app
from dptr.config.load import load_recipe
from dptr.config.model import Config
from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe, SynthRecipe

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCHEMAS: dict[str, type[Config]] = {
    "adapt": AdaptRecipe,
    "align": AlignRecipe,
    "pretrain": PretrainRecipe,
    "finetune": FinetuneRecipe,
    "synth": SynthRecipe,
}
SHELL = ("sh", "bash", "console")
LAUNCHERS = ("torchrun", "accelerate")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, its text; ``name`` of a file that a comment before it gives."""

    document: Path
    line: int
    language: str
    text: str
    file: str = ""


@dataclass(frozen=True)
class Command:
    """A command line as words, without the environment set before it."""

    where: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"

    @property
    def dptr(self) -> list[str] | None:
        """The arguments of ``dptr``, also where a launcher or ``python -m`` starts it; None for other programs."""
        words = list(self.words)
        if words[0] == "dptr":
            return words[1:]
        if "-m" in words and words[words.index("-m") + 1 : words.index("-m") + 2] == ["dptr"]:
            return words[words.index("-m") + 2 :]
        return None


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document, also indented ones.

    Raises:
        AssertionError: one does not end, or names no language.
    """
    found, lines = [], document.read_text(encoding="utf-8").splitlines()
    opened: tuple[int, str, str] | None = None
    before = ""
    for number, line in enumerate(lines, 1):
        fence = re.fullmatch(r"(\s*)```(\w*)", line)
        if opened is None and fence:
            assert fence[2], f"{name(document)}:{number}: a block without a language"
            comment = re.search(r"<!-- \w+: (\S+) -->", before)
            opened = (number, fence[2], comment[1] if comment else "")
        elif opened is not None and fence and not fence[2]:
            start, language, file = opened
            text = "\n".join(one.removeprefix(fence[1]) for one in lines[start : number - 1]) + "\n"
            found.append(Block(document, start, language, text, file))
            opened = None
        before = line
    assert opened is None, f"{name(document)}: the block of line {opened and opened[0]} does not end"
    return found


def commands(document: Path) -> list[Command]:
    """Every command line of a document's shell blocks, or of the comments of a recipe."""
    if document.suffix == ".md":
        sources = [(block.line, block.text) for block in blocks(document) if block.language in SHELL]
    else:
        text = "\n".join(
            line.lstrip("# ") for line in document.read_text(encoding="utf-8").splitlines() if line[:1] == "#"
        )
        shown = re.sub(r"^.*?(?=\bdptr [a-z]+ --)", "", text, flags=re.MULTILINE)
        shown = re.sub(r"\s*\\\n\s*", " ", shown)
        sources = [(0, "\n".join(line for line in shown.splitlines() if line.startswith("dptr ")))]
    return [Command(f"{name(document)}:{line}", words) for line, text in sources for words in command_lines(text)]


def command_lines(text: str) -> Iterator[tuple[str, ...]]:
    """The commands of a shell script of single lines: continued lines joined, comments and environments dropped."""
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        for part in _split(words, ("&&", "|", ";")):
            while part and re.fullmatch(r"[A-Z_]+=.*", part[0]):
                part = part[1:]
            if part:
                yield (os.path.basename(part[0]) if part[0].startswith(".venv/bin/") else part[0], *part[1:])


def _split(words: list[str], marks: tuple[str, ...]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word in marks:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def parsed(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The command (``data check``) and its parameters, as the command line reads them; fails on unknown options."""
    command: Any = app
    path: list[str] = []
    rest = list(arguments)
    if rest and rest[0] == "--version":
        return "", {}
    while hasattr(command, "commands"):
        assert rest and rest[0] in command.commands, f"dptr {' '.join(arguments)}: no command '{' '.join(rest[:1])}'"
        command = command.commands[rest[0]]
        path.append(rest.pop(0))
    return " ".join(path), command.make_context(" ".join(path), rest).params


def check_recipe(command: str, parameters: dict[str, Any], files: dict[str, str], folder: Path) -> None:
    """The recipe that a command line names loads with its overrides: the keys exist, the values are valid.

    Args:
        files: recipes that the document shows itself, by name.
        folder: where they are written to.
    """
    if command not in SCHEMAS:
        return
    path = parameters["config"]
    if path is not None and str(path) in files:
        (folder / path).write_text(files[str(path)], encoding="utf-8")
        path = folder / path
    elif path is not None:
        path = ROOT / path
        assert path.exists(), f"{parameters['config']} does not exist"
    load_recipe(SCHEMAS[command], path, parameters["overrides"])
