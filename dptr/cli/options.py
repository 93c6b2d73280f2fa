"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
ISOLATE = "Decode files in a separate process with limits on memory and time, for untrusted files."


def isolate_option() -> Decorator[Any]:
    """``--isolate``."""
    return click.option("--isolate", is_flag=True, help=ISOLATE)


def stack(*decorators: Decorator[Any]) -> Decorator[Any]:
    """Combine several options into one decorator; the help lists them in this order."""

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
    text = f"{help} Default: {default}." if default else help
    return click.option("-m", "--model", metavar=metavar, default=default, type=click.Path(), help=text)


def recognizer_options() -> Decorator[Any]:
    """The choice of a recognizer: ``--model``, ``--lang`` (``choose_recognizer``)."""
    return stack(
        click.option(
            "-m", "--model", metavar="NAME|DIR|ONNX", type=click.Path(),
            help=f"A shipped model (dptr models), a folder, or a file of dptr export. Default: {DEFAULT_MODEL}.",
        ),
        language_option("Read with"),
    )  # fmt: skip


def language_option(verb: str) -> Decorator[Any]:
    """``--lang``, an alternative to ``--model`` (``choose_recognizer``); the help begins with ``verb``."""
    return click.option(
        "--lang", "language", metavar="CODE",
        help=f"{verb} the installed recognizer for a language, such as el, instead of --model. auto: detect the "
        "script of each crop, or of each line in a photograph.",
    )  # fmt: skip


def choose_recognizer(model: str | None, language: str | None) -> str:
    """The recognizer for the values of ``--model`` and ``--lang``: a name or a path, or ``AUTO`` for ``--lang auto``.

    Without both, it is the default model.

    Raises:
        UserError: both are given, or no recognizer for the language is installed (``find_recognizer``).
    """
    if language is None:
        return model or DEFAULT_MODEL
    if model is not None:
        raise UserError("--model and --lang: each one chooses the recognizer; pass one of them")
    if language == AUTO:
        return AUTO
    from dptr.inference.zoo import find_recognizer

    return find_recognizer(language)


class SayOnce:
    """Prints notes on standard error. A note that no recognizer reads a script is printed only once."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def __call__(self, where: str, note: str) -> None:
        """Print a note with the prefix ``where``."""
        if note not in self.said:
            say(f"{where}: {note}")
        if note.endswith(OF_NO_RECOGNIZER):
            self.said.add(note)


def data_option(help: str, as_arguments: bool = False) -> Decorator[Any]:
    """``-d``, ``--data``, repeatable; with ``as_arguments`` folders may also be arguments (``join_data``)."""
    option = click.option("-d", "--data", metavar="DIR", multiple=True, type=click.Path(), help=help)
    argument = click.argument("more", nargs=-1, metavar="[DIR]...", type=click.Path())
    return stack(argument, option) if as_arguments else option


def join_data(data: tuple[str, ...], more: tuple[str, ...]) -> list[str | Path]:
    """The folders, files, and URLs after ``--data``, followed by those given as arguments.

    Raises:
        UserError: there is none, or an argument looks like a value of ``--json``, which takes none.
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
            "--set", "overrides", metavar="KEY=VALUE", multiple=True, callback=_check_settings,
            help="Set a key of the recipe, such as run.steps=500; repeatable.",
        ),
    )  # fmt: skip


def _check_settings(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    join_settings(value)
    return value


def join_settings(overrides: Sequence[str], options: Mapping[str, str] | None = None) -> list[str]:
    """The values of ``--set``, and the settings that other options stand for.

    Args:
        overrides: each ``KEY=VALUE``.
        options: more of these, by what was written instead, such as ``--model dptr-en``.

    Raises:
        UserError: see ``dptr.config.load.check_overrides``.
    """
    from dptr.config.load import check_overrides

    settings = {f"--set {override}": override for override in overrides} | dict(options or {})
    check_overrides(settings)
    return [*settings.values()]


def out_option(help: str, metavar: str = "DIR") -> Decorator[Any]:
    """``-o``, ``--out``, which is required."""
    return click.option("-o", "--out", metavar=metavar, required=True, type=_NonEmptyPath(path_type=Path), help=help)


class NumberRange(click.FloatRange):
    """A number in a range. NaN is rejected, which ``click.FloatRange`` would accept in any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"'{value}' is no number; pass one, such as 0.5", param, ctx)
        return number


class _NonEmptyPath(click.Path):
    """A path that is not empty. ``Path("")`` would be the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty name; write . for the folder where you are", param, ctx)
        return super().convert(value, param, ctx)


def resume_option() -> Decorator[Any]:
    """``--resume``."""
    return click.option("--resume", is_flag=True, help="Continue an interrupted run in --out.")


def device_options() -> Decorator[Any]:
    """The device of a recognizer: ``--device``, ``--batch-size``."""
    return stack(
        click.option(
            "--device", metavar="NAME", default="cpu",
            help="The device: cpu, cuda, cuda:1, openvino, or auto. Default: cpu.",
        ),
        click.option(
            "--batch-size", metavar="N", type=click.IntRange(min=1), default=64,
            help="Crops in a batch; affects only speed and memory. Default: 64.",
        ),
    )  # fmt: skip


def reading_options() -> Decorator[Any]:
    """Options for reading crops: ``device_options``, ``--turn``, ``--tta``, ``--rescore``."""
    return stack(
        device_options(),
        click.option(
            "--turn/--no-turn", default=True,
            help="Also read tall pictures rotated by 90 degrees, and doubtful ones upside down. Default: --turn.",
        ),
        click.option(
            "--tta", metavar="N", type=int, default=1,
            help="Test-time augmentation: read N views of each picture, 1 to 6 (padded, inverted, and so on), and keep "
            "the most confident reading. Default: 1.",
        ),
        click.option(
            "--rescore/--no-rescore", default=True,
            help="Compare doubtful readings with the spelling of words, where the recognizer has n-grams, as "
            "dptr-latin does. --charset, --pattern, and --lexicon turn this off. Default: --rescore.",
        ),
    )  # fmt: skip


def detector_option() -> Decorator[Any]:
    """``--detector``."""
    return click.option(
        "--detector", metavar="NAME|ONNX", default="ppocr", type=click.Path(),
        help="Text detector: ppocr, rapidocr, or an ONNX file. Default: ppocr.",
    )  # fmt: skip


def expected_options() -> Decorator[Any]:
    """Constraints on the text: ``--charset``, ``--pattern``, ``--lexicon``."""
    return stack(
        click.option(
            "--charset", metavar="NAME|FILE", default="", type=click.Path(),
            help="Read only these characters: a named set (10 = digits, 36, 62), a language, or a file.",
        ),
        click.option(
            "--pattern", metavar="NAME|REGEX", default="",
            help="Read only words that match date, price, iban, plate-de, or a regular expression for whole words.",
        ),
        click.option(
            "--lexicon", metavar="FILE", type=click.Path(),
            help="Read only the words in this file, one on each line.",
        ),
    )  # fmt: skip


def page_options() -> Decorator[Any]:
    """Options for photographs and PDFs: ``--text-layer``, ``--dpi``, ``--min-confidence``, ``--isolate``,
    ``expected_options``, ``detector_option``, ``device_options``."""
    return stack(
        click.option(
            "--text-layer", type=click.Choice(("use", "ignore")), default="ignore",
            help="Use the text layer of a PDF page, or ignore it and read the page as a picture. Default: ignore.",
        ),
        click.option("--dpi", metavar="N", type=int, default=200, help="Pixels per inch of PDF pages. Default: 200."),
        click.option(
            "--min-confidence", metavar="P", type=NumberRange(0, 1), default=LEAST_CONFIDENCE,
            help=f"Leave out words with a confidence below P, 0 to 1. Default: {LEAST_CONFIDENCE:g}.",
        ),
        isolate_option(),
        expected_options(),
        detector_option(),
        device_options(),
    )  # fmt: skip


def server_options() -> Decorator[Any]:
    """What a server listens on and accepts: ``--host``, ``--port``, ``--max-megabytes``."""
    return stack(
        click.option(
            "--host", metavar="ADDRESS", default="127.0.0.1", help="The address to listen on. Default: 127.0.0.1."
        ),
        click.option(
            "--port", metavar="N", type=click.IntRange(0, 65535), default=8000,
            help="The port to listen on; 0 = any free port. Default: 8000.",
        ),
        click.option(
            "--max-megabytes", metavar="N", type=float, default=32, help="Largest request, or upload. Default: 32."
        ),
    )  # fmt: skip
