"""What all commands have in common: options that are the same everywhere, extras, and how reports are written."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json, escape
from dptr.utils.extras import describe_install, require_extras
from dptr.utils.files import replace_file
from dptr.utils.outputs import check_file
from dptr.utils.terminal import print_unfinished, set_verbosity, write_text
from dptr.weights import DEFAULT_MODEL

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": False}


def command(
    name: str, *extras: str, renamed: dict[str, str] | None = None
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command, with ``-h``, ``-q`` and ``-v``; its docstring is the help.

    Args:
        name: of the command, without ``dptr``.
        extras: of the package that it needs (``dptr.utils.extras``). The help says so, and without them the command
            ends in one line.
        renamed: options of earlier versions, each with what to write today.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        text = inspect.cleandoc(function.__doc__ or "")
        needs = ""
        if extras:
            needs = f"\n\nNeeds {' and '.join(f'[{extra}]' for extra in extras)}: {describe_install(*extras)}"
        made = _Command(
            name.split()[-1], callback=function, help=text + needs,
            short_help=text.split("\n\n")[0], context_settings=HELP,
            params=[*reversed(getattr(function, "__click_params__", []))],
        )  # fmt: skip
        made.extras = extras
        made.renamed = renamed or {}
        return _verbosity_options(made)

    return decorate


class _Command(click.Command):
    """A command that needs extras of the package, and knows what its options were called before."""

    extras: tuple[str, ...]
    renamed: dict[str, str]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            flag = argument.partition("=")[0]
            if flag in self.renamed:
                raise UserError(f"{flag} has another name now: write {self.renamed[flag]}; see '{ctx.command_path} -h'")
        if self.extras and not ctx.resilient_parsing and not {*args} & {*ctx.help_option_names}:
            require_extras(ctx.command_path, *self.extras)
        return super().parse_args(ctx, args)


def _verbosity_options(made: click.Command) -> click.Command:
    def quiet(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            set_verbosity(-1)

    def verbose(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            set_verbosity(1)

    made.params += [
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=quiet,
            help="Print only results, what is left out, and errors.",
        ),
        click.Option(
            ["-v", "--verbose"], is_flag=True, expose_value=False, callback=verbose,
            help="Also print the model and the device.",
        ),
    ]  # fmt: skip
    return made


ISOLATE = "Decode files in another process, with limits on its memory and time: for files of strangers."


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
        click.option(
            "--lang", "language", metavar="CODE",
            help="Read with the installed recognizer of a language, such as ko, instead of --model.",
        ),
    )  # fmt: skip


def choose_recognizer(model: str | None, language: str | None) -> str:
    """The recognizer that ``--model`` names or ``--lang`` finds; the default one without both.

    Raises:
        UserError: both are given; see ``find_recognizer``.
    """
    if language is None:
        return model or DEFAULT_MODEL
    if model is not None:
        raise UserError("--model and --lang: the one names a recognizer, the other finds it; pass one of them")
    from dptr.inference.zoo import find_recognizer

    return find_recognizer(language)


def data_option(help: str, as_arguments: bool = False) -> Decorator[Any]:
    """``-d``, ``--data``, repeatable; with ``as_arguments`` the folders may stand alone too (``join_data``)."""
    dashed = click.option("-d", "--data", metavar="DIR", multiple=True, type=click.Path(), help=help)
    alone = click.argument("more", nargs=-1, metavar="[DIR]...", type=click.Path())
    return stack(alone, dashed) if as_arguments else dashed


def join_data(data: tuple[str, ...], more: tuple[str, ...]) -> list[Path]:
    """The folders after ``--data`` and those that stand alone.

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
        raise UserError("no data set given; pass --data DIR, a folder with labels.tsv or an LMDB")
    return [Path(path) for path in (*data, *more)]


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


def report_options(*formats: str) -> Decorator[Any]:
    """``--format``, ``--json`` and ``-o``: how a result is written, and where to.

    Args:
        formats: the first is the default; ``json`` is one of them.
    """
    return stack(
        click.option(
            "--format", "style", type=click.Choice(formats), default=formats[0],
            help=f"How to write the result. Default: {formats[0]}.",
        ),
        click.option("--json", "style", flag_value="json", help="The same as --format json."),
        click.option(
            "-o", "--out", metavar="FILE|-", default="-", type=click.Path(allow_dash=True),
            help="Write it to a file. Default: -, standard output.",
        ),
    )  # fmt: skip


def html_option(help: str) -> Decorator[Any]:
    """``--html``, a page with pictures beside the report."""
    return click.option("--html", "html", metavar="FILE", type=click.Path(path_type=Path), help=help)


def check_outputs(out: str, style: str = "", inputs: Iterable[str | Path] = (), **pages: Path | None) -> None:
    """Check, before the work begins, that files can be written.

    Args:
        out: of the report; ``-`` = standard output.
        style: of the report: ``json`` is marked as DPTR's, so that an earlier one is replaced; others are not.
        inputs: files and folders that the command reads.
        pages: other files by format, such as ``html``; None = none.

    Raises:
        UserError: as ``dptr.utils.outputs.check_file``; one file for two outputs; a page for standard output.
    """
    wanted = [(str(path), kind) for kind, path in pages.items() if path is not None]
    for path, kind in wanted:
        if path == "-":
            raise UserError(f"--{kind} -: pictures go to a file; pass its name")
    if out != "-":
        wanted.append((out, "json" if style == "json" else ""))
    places = [os.path.realpath(path) for path, _ in wanted]
    if len(set(places)) < len(places):
        raise UserError(f"{wanted[0][0]}: named for two outputs; pass two names")
    for path, kind in wanted:
        check_file(path, inputs, kind)


def write_report(report: dict[str, Any], to_text: Callable[[], str], style: str, out: str) -> None:
    """Write a report as JSON (``style`` json) or as text, to a file or, with ``out`` ``-``, to standard output.

    A report that cannot be written to its file goes to standard output, so that it is not lost.

    Raises:
        UserError: the file cannot be written.
    """
    text = dump_json(report, indent=1) if style == "json" else escape(to_text(), keep="\n\t")
    if out == "-":
        print(text, flush=True)
        return
    try:
        write_text(Path(out), text + "\n")
    except BaseException:
        print(text, flush=True)
        raise


@contextmanager
def open_output(out: str) -> Iterator[TextIO]:
    """A text stream to a file, which is there once all is written, or, for ``-``, standard output.

    If it cannot be finished, what was written goes to standard output, so that it is not lost.
    """
    if out == "-":
        yield sys.stdout
        return
    check_file(out, kind="")
    with replace_file(out) as aside, open(aside, "w", encoding="utf-8", errors="backslashreplace") as file:
        try:
            yield file
        except BaseException:
            file.flush()
            print_unfinished(aside, out)
            raise
