"""The command line: its commands, and what becomes of errors.

Each command lives in a file of this folder; heavy imports stay inside the commands, so that ``dptr --help`` is quick.

Exit codes: 0; 2 for whatever the user can put right (one line on standard error); 130 after Ctrl-C.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from dptr.cli import bench, data, evaluate, export, models, read, synth, train
from dptr.utils.errors import UserError
from dptr.utils.terminal import say, say_error
from dptr.version import __version__

app = typer.Typer(
    name="dptr", help="Scene text recognition with decoders pre-trained on text.", add_completion=False,
    pretty_exceptions_enable=False,
)  # fmt: skip
RESUMABLE = "align", "pretrain", "finetune", "adapt", "synth"


def main() -> None:
    """Entry point of the ``dptr`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command; errors become one line on standard error. Returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # paths that are no UTF-8 leave as they came
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        code = app(args=list(arguments) or ["--help"], prog_name="dptr", standalone_mode=False) or 0
        sys.stdout.flush()
    except UserError as error:
        return _fail(error)
    except typer.TyperException as error:  # wrong usage
        command = getattr(getattr(error, "ctx", None), "command_path", "dptr")
        return _fail(f"{' '.join(error.format_message().split()).rstrip('.')}; see '{command} --help'")
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has seen enough
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail(f"{error.filename or 'output'}: {error.strerror}; free space and try again")
    if code == 130:  # typer's code for Ctrl-C
        resumable = arguments and arguments[0] in RESUMABLE
        say(f"dptr: interrupted{'; go on with --resume' if resumable else ''}")
    return code


def _fail(problem: UserError | str) -> int:
    say_error(problem)
    return 2


def _print_version(show: bool) -> bool:
    if show:
        print(f"dptr {__version__}")
        raise typer.Exit
    return show


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command()(read.read)
app.command("eval")(evaluate.evaluate)
app.command()(models.models)
app.command()(train.align)
app.command()(train.bank)
app.command()(train.pretrain)
app.command()(train.finetune)
app.command()(train.adapt)
app.command()(bench.bench)
app.command()(export.export)
app.command()(synth.synth)
app.command()(synth.fonts)
app.add_typer(data.app)


if __name__ == "__main__":
    main()
