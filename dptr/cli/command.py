"""Turn a function into a command of ``dptr``, with its help, the extras that it needs, and ``-q`` and ``-v``."""

from __future__ import annotations

import copy
import inspect
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeGuard

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
    """A command that checks its extras, tells users of a former option its current name, and drops no value."""

    extras: tuple[str, ...]
    renamed: dict[str, str]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            flag = argument.partition("=")[0]
            if flag in self.renamed:
                raise UserError(f"{flag} has another name now: write {self.renamed[flag]}; see '{ctx.command_path} -h'")
        if not ctx.resilient_parsing and not {*args} & {*ctx.help_option_names}:
            self._refuse_several_values(ctx, args)
            if self.extras:
                require_extras(ctx.command_path, *self.extras)
        return super().parse_args(ctx, args)

    def _refuse_several_values(self, ctx: click.Context, args: list[str]) -> None:
        """Refuse different values for an option that takes one, of which ``click`` would keep the last.

        Of numbers, and of switches such as ``--turn``, the last one counts, as in most programs: several cannot be
        meant at once.

        Raises:
            UserError: there are two values for an option.
        """
        options = {f"{index}": each for index, each in enumerate(self.get_params(ctx))}
        parser = click.Command(None, params=[_keep_all(each, key) for key, each in options.items()])
        values, _, _ = parser.make_parser(ctx).parse_args([*args])
        given: dict[str | None, dict[str, str]] = defaultdict(dict)  # by name; each value with what was written
        for key, each in options.items():
            if key not in values or not takes_one_value(each):
                continue
            flag = max(each.opts, key=len)
            several = given[each.name]
            several |= {values[key]: flag} if each.is_flag else {value: f"{flag} {value}" for value in values[key]}
            if len(several) > 1:
                raise UserError(f"{' and '.join(several.values())}: only one of them can count; pass one")


def takes_one_value(option: click.Parameter) -> TypeGuard[click.Option]:
    """Whether a second value, which is no number, would take the place of the first."""
    if not isinstance(option, click.Option) or option.multiple or option.count or option.is_bool_flag:
        return False
    return not isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType))


def _keep_all(parameter: click.Parameter, name: str) -> click.Parameter:
    """A copy of a parameter with another name. An option with a value keeps all that are given."""
    copied = copy.copy(parameter)
    copied.name = name
    if isinstance(copied, click.Option) and not copied.is_flag and not copied.count:
        copied.multiple = True
    return copied


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
