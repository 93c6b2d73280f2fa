"""Options that are the same in several commands."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dptr.inference.prediction import OF_NO_RECOGNIZER
from dptr.photo.page import LEAST_CONFIDENCE
from dptr.utils.errors import UserError
from dptr.utils.places import is_url
from dptr.utils.terminal import say
from dptr.weights import AUTO, DEFAULT_MODEL

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]
ISOLATE = "Decode files in another process, with limits on its memory and time: for untrusted files."


def isolate_option() -> Decorator[Any]:
    """``--isolate``."""
    return click.option("--isolate", is_flag=True, help=ISOLATE)


def stack(*decorators: Decorator[Any]) -> Decorator[Any]:
    """Several options as one decorator, in the order of the help."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def model_option(
    help: str = "A shipped model (dptr models), a folder, or a file that dptr export wrote.",
    metavar: str = "NAME|DIR|ONNX",
    default: str | None = DEFAULT_MODEL,
) -> Decorator[Any]:
    """``-m``, ``--model``."""
    shown = f"{help} Default: {default}." if default else help
    return click.option("-m", "--model", metavar=metavar, default=default, type=click.Path(), help=shown)


def recognizer_options() -> Decorator[Any]:
    """Which recognizer reads: ``--model``, ``--lang`` (``choose_recognizer``)."""
    return stack(
        click.option(
            "-m", "--model", metavar="NAME|DIR|ONNX", type=click.Path(),
            help=f"A shipped model (dptr models), a folder, or a file of dptr export. Default: {DEFAULT_MODEL}.",
        ),
        language_option("Read with"),
    )  # fmt: skip


def language_option(verb: str) -> Decorator[Any]:
    """``--lang``, beside a ``--model`` (``choose_recognizer``); the help begins with ``verb``."""
    return click.option(
        "--lang", "language", metavar="CODE",
        help=f"{verb} the installed recognizer of a language, such as el, instead of --model; auto: find the "
        "script of each crop, or of each line of a photograph.",
    )  # fmt: skip


def choose_recognizer(model: str | None, language: str | None) -> str:
    """The recognizer that ``--model`` names or ``--lang`` finds; the default one without both, ``AUTO`` for auto.

    Raises:
        UserError: both are given; see ``find_recognizer``.
    """
    if language is None:
        return model or DEFAULT_MODEL
    if model is not None:
        raise UserError("--model and --lang: the one names a recognizer, the other finds it; pass one of them")
    if language == AUTO:
        return AUTO
    from dptr.inference.zoo import find_recognizer

    return find_recognizer(language)


class SayOnce:
    """Says notes on standard error; that no recognizer reads a script, once for all pictures that show it."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def __call__(self, where: str, note: str) -> None:
        """``where`` comes before the note."""
        if note not in self.said:
            say(f"{where}: {note}")
        if note.endswith(OF_NO_RECOGNIZER):
            self.said.add(note)


def data_option(help: str, as_arguments: bool = False) -> Decorator[Any]:
    """``-d``, ``--data``, repeatable; with ``as_arguments`` the folders may stand alone too (``join_data``)."""
    dashed = click.option("-d", "--data", metavar="DIR", multiple=True, type=click.Path(), help=help)
    alone = click.argument("more", nargs=-1, metavar="[DIR]...", type=click.Path())
    return stack(alone, dashed) if as_arguments else dashed


def join_data(data: tuple[str, ...], more: tuple[str, ...]) -> list[str | Path]:
    """The folders, files, and addresses after ``--data`` and those that stand alone.

    Raises:
        UserError: there is none, or a value follows ``--json``, which takes none.
    """
    for path in more:
        if path == "-" or path.endswith(".json"):
            raise UserError(
                f"'{path}': no data set; pass a folder with labels.tsv or an LMDB; --json takes no value, "
                f"write --json -o {path}"
            )
    if not data and not more:
        raise UserError("no data set given; pass --data DIR, a folder with labels.tsv, an LMDB, or shards")
    return [path if is_url(path) else Path(path) for path in (*data, *more)]


def config_options() -> Decorator[Any]:
    """``-c``, ``--config`` and ``--set``."""
    return stack(
        click.option(
            "-c", "--config", metavar="FILE", type=click.Path(path_type=Path), help="A TOML recipe. Default: none."
        ),
        click.option(
            "--set", "overrides", metavar="KEY=VALUE", multiple=True,
            help="Set a key of the recipe, such as run.steps=500; repeatable.",
        ),
    )  # fmt: skip


def out_option(help: str, metavar: str = "DIR") -> Decorator[Any]:
    """``-o``, ``--out``, which must be given."""
    return click.option("-o", "--out", metavar=metavar, required=True, type=_Named(path_type=Path), help=help)


class NumberRange(click.FloatRange):
    """A number of a range; NaN, which ``click.FloatRange`` takes for any, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"'{value}' is no number; pass one, such as 0.5", param, ctx)
        return number


class _Named(click.Path):
    """A path that is not empty: as a path, nothing would be the folder where the command was started."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty name; write . for the folder where you are", param, ctx)
        return super().convert(value, param, ctx)


def resume_option() -> Decorator[Any]:
    """``--resume``."""
    return click.option("--resume", is_flag=True, help="Continue an interrupted run in --out.")


def device_options() -> Decorator[Any]:
    """Where a recognizer computes: ``--device``, ``--batch-size``."""
    return stack(
        click.option(
            "--device", metavar="NAME", default="cpu",
            help="Where to compute: cpu, cuda, cuda:1, openvino, or auto. Default: cpu.",
        ),
        click.option(
            "--batch-size", metavar="N", type=click.IntRange(min=1), default=64,
            help="Crops at once; it affects only speed and memory. Default: 64.",
        ),
    )  # fmt: skip


def reading_options() -> Decorator[Any]:
    """How a recognizer reads crops: ``device_options``, ``--turn``, ``--tta``."""
    return stack(
        device_options(),
        click.option(
            "--turn/--no-turn", default=True,
            help="Read tall pictures turned by 90 degrees too, and doubtful ones upside down. Default: --turn.",
        ),
        click.option(
            "--tta", metavar="N", type=int, default=1,
            help="Read each picture in N views, 1 to 6: padded, inverted, and so on; the most confident reading "
            "counts. Default: 1.",
        ),
    )  # fmt: skip


def detector_option() -> Decorator[Any]:
    """``--detector``."""
    return click.option(
        "--detector", metavar="NAME|ONNX", default="ppocr", type=click.Path(),
        help="Text detector: ppocr, rapidocr, or an ONNX file. Default: ppocr.",
    )  # fmt: skip


def expected_options() -> Decorator[Any]:
    """What a recognizer may read: ``--charset``, ``--pattern``, ``--lexicon``."""
    return stack(
        click.option(
            "--charset", metavar="NAME|FILE", default="", type=click.Path(),
            help="Read only these characters: a named set (10 = digits, 36, 62), a language, or a file.",
        ),
        click.option(
            "--pattern", metavar="NAME|REGEX", default="",
            help="Read only words that match: date, price, iban, plate-de, or a regular expression of whole words.",
        ),
        click.option(
            "--lexicon", metavar="FILE", type=click.Path(),
            help="Read only the words of a file, one a line.",
        ),
    )  # fmt: skip


def page_options() -> Decorator[Any]:
    """How photographs and PDFs are read: ``--text-layer``, ``--dpi``, ``--min-confidence``, ``--isolate``,
    ``expected_options``, ``detector_option``, ``device_options``."""
    return stack(
        click.option(
            "--text-layer", type=click.Choice(("use", "ignore")), default="ignore",
            help="Take the text that a page of a PDF holds itself, or read its picture. Default: ignore.",
        ),
        click.option("--dpi", metavar="N", type=int, default=200, help="Pixels an inch of PDF pages. Default: 200."),
        click.option(
            "--min-confidence", metavar="P", type=NumberRange(0, 1), default=LEAST_CONFIDENCE,
            help=f"Leave words below P out, 0 to 1. Default: {LEAST_CONFIDENCE:g}.",
        ),
        isolate_option(),
        expected_options(),
        detector_option(),
        device_options(),
    )  # fmt: skip
