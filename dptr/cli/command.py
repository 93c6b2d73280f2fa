"""Turn a function into a command of ``dptr``, with its help, the extras that it needs, and ``-q`` and ``-v``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import click

from dptr.utils.errors import UserError
from dptr.utils.extras import describe_install, require_extras
from dptr.utils.terminal import set_verbosity

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": False}


def command(
    name: str, *extras: str, renamed: dict[str, str] | None = None
) -> Callable[[Callable[..., Any]], click.Command]:
    """A decorator that makes a function a command with ``-h``, ``-q``, and ``-v``. The docstring becomes the help.

    Args:
        name: the name of the command, without ``dptr``.
        extras: the extras that the command needs (``dptr.utils.extras``). The help names them, and a command whose
            extras are missing ends with an error of one line.
        renamed: options of earlier versions, each with its current name.
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
    """A command that checks its extras, and that tells users of a former option its current name."""

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
            help="Print only results, errors, and what is left out.",
        ),
        click.Option(
            ["-v", "--verbose"], is_flag=True, expose_value=False, callback=verbose,
            help="Also print the model and the device.",
        ),
    ]  # fmt: skip
    return made
