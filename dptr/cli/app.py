"""The command line: the list of commands, and the handling of errors.

Each command is in a file of this folder. Commands import heavy packages when they run, so that ``dptr --help`` is fast.

Exit codes: 0 for success; 1 if ``data check`` reports a problem, or if the reader of standard output has closed it;
2 for an error that the user can fix (one line on standard error); 130 after Ctrl-C, SIGTERM, or SIGHUP.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise

import click

from dptr.cli import (
    adapt,
    batch,
    bench,
    data,
    evaluate,
    export,
    export_page,
    import_weights,
    info,
    label,
    models,
    new_language,
    ocr,
    read,
    serve,
    synth,
    train,
)
from dptr.cli.command import HELP
from dptr.cli.stopping import INTERRUPTED, stops_by_signals
from dptr.utils.errors import UserError
from dptr.utils.extras import extra_of, missing_package
from dptr.utils.terminal import say, say_error, set_verbosity
from dptr.version import __version__

SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Read": (read.read, ocr.ocr, batch.app, serve.serve, models.models),
    "Your data": (label.label, data.app, evaluate.evaluate),
    "Train": (
        train.finetune,
        adapt.adapt,
        new_language.new_language,
        synth.synth,
        train.align,
        train.bank,
        train.pretrain,
    ),
    "Tools": (
        import_weights.import_weights,
        export.export,
        export_page.export_page,
        bench.bench,
        synth.fonts,
        info.info,
        info.version,
        info.completion,
    ),
}
ALIASES = {"predict": "read", "val": "eval", "train": "finetune"}
"""Names that other programs use for the same commands."""


class _Root(click.Group):
    """The group of all commands. It accepts ``ALIASES``, and its help lists the commands by section."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.commands)
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                rows = [(str(each.name).ljust(width), each.get_short_help_str(limit=200)) for each in commands]
                formatter.write_dl(rows)


@click.group(
    cls=_Root, commands=[each for commands in SECTIONS.values() for each in commands], context_settings=HELP,
    epilog="'dptr COMMAND -h' shows the help of a command.",
)  # fmt: skip
@click.version_option(
    __version__, "-V", "--version", prog_name="dptr", message="%(prog)s %(version)s", help="Print the version."
)
def app() -> None:
    """Read words in photographs, and train recognizers for any script.

    DPTR first trains the decoder to spell from text, then the whole recognizer on pictures.
    """


def main() -> None:
    """Entry point of the ``dptr`` command."""
    if info.COMPLETION_VARIABLE in os.environ:  # the shell requests completions
        app.main(prog_name="dptr")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code. An error that the user can fix becomes one line on standard error."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # prints paths that are not UTF-8 unchanged
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    warnings.filterwarnings("ignore", module="PIL")  # warnings about damaged pictures; errors suffice
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    set_verbosity(0)
    name = f"dptr {arguments[0]}" if arguments else "dptr"
    try:
        os.getcwd()
    except FileNotFoundError:  # some libraries would end the process
        return _fail("the working folder was deleted; cd to one that exists")
    try:
        with stops_by_signals(), app.make_context("dptr", list(arguments) or ["--help"]) as context:
            app.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        sys.stdout.flush()
        return end.exit_code
    except UserError as error:
        return _fail(error)
    except click.ClickException as error:  # wrong usage
        _, command = _find_command(arguments)
        return _fail(f"{' '.join(error.format_message().split()).rstrip('.')}; see '{command} --help'")
    except KeyboardInterrupt:
        say(f"dptr: interrupted{'; continue with --resume' if _can_resume(arguments) else ''}", level=-1)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of standard output has closed it
        return 1
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise
        return _fail(missing_package(error, name, extra))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail(f"{error.filename or 'output'}: {error.strerror}; free space and try again")
    return 0


def _can_resume(arguments: Sequence[str]) -> bool:
    """Whether ``--resume`` can continue an interrupted command; ``dptr ocr`` can only if it writes to a folder."""
    command, _ = _find_command(arguments)
    if not any(parameter.name == "resume" for parameter in command.params):
        return False
    outputs = (value for option, value in pairwise(arguments) if option in ("-o", "--out"))
    return command.name != "ocr" or any(value.endswith(("/", os.sep)) or os.path.isdir(value) for value in outputs)


def _find_command(arguments: Sequence[str]) -> tuple[click.Command, str]:
    """The command at the beginning of ``arguments``, and its full name, such as ``dptr data check``."""
    command: click.Command = app
    words = ["dptr"]
    context = click.Context(app)
    for argument in arguments:
        subcommand = command.get_command(context, argument) if isinstance(command, click.Group) else None
        if subcommand is None:
            break
        command = subcommand
        words.append(argument)
    return command, " ".join(words)


def _fail(problem: UserError | str) -> int:
    say_error(problem)
    return 2


if __name__ == "__main__":
    main()
