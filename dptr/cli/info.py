"""``dptr info``, ``dptr version``, and ``dptr completion``: describe the installation, and complete commands."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from dptr.cli.command import command
from dptr.cli.outputs import check_outputs, report_options, write_report
from dptr.utils.errors import UserError
from dptr.utils.extras import EXTRAS, find_missing
from dptr.version import __version__

COMPLETION_VARIABLE = "_DPTR_COMPLETE"
PACKAGES = (
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "numpy", "pillow", "click"),
    *("torch", "accelerate", "opencv-python-headless", "fonttools", "onnx", "transformers"),
)
VARIABLES = "DPTR_DATA", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"


@command("version")
def version() -> None:
    """Print the version."""
    print(f"dptr {__version__}")


@command("info")
@report_options("text", "json")
def info(style: str, out: str) -> None:
    """Print versions, devices, and models, for bug reports."""
    check_outputs(out, style)
    report = collect()
    write_report(report, lambda: _format(report), style, out)


def collect() -> dict[str, Any]:
    """The content of ``dptr info``, by topic."""
    from dptr.inference.zoo import model_cards, recognizer_cards

    return {
        "dptr": __version__,
        "folder": str(Path(__file__).parent.parent),
        "python": f"{platform.python_version()}, {sys.executable}",
        "system": f"{platform.platform()}, {os.cpu_count()} cores",
        "packages": {name: installed for name in PACKAGES if (installed := _version(name))},
        "devices": _devices(),
        "extras": {extra: _state(extra) for extra in EXTRAS},
        "models": [card["name"] for card in (*model_cards(), *recognizer_cards())],
        "fonts": _count_fonts(),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _version(package: str) -> str:
    """The installed version of a package, or ""."""
    try:
        return version_of(package)
    except PackageNotFoundError:
        return ""


def _devices() -> list[str]:
    """The devices that onnxruntime can use."""
    from dptr.inference.providers import PROVIDERS, has_provider

    try:
        return [device for device in PROVIDERS if has_provider(device)]
    except UserError as error:
        return [str(error)]


def _state(extra: str) -> str:
    missing = find_missing(extra)
    return f"lacks {', '.join(missing)}" if missing else "installed"


def _count_fonts() -> str:
    if find_missing("train"):
        return "not looked for: rendering needs the extra [train]"
    from dptr.synth.fonts import scan_fonts

    return scan_fonts([]).describe()


def _format(report: dict[str, Any]) -> str:
    rows: list[tuple[str, str]] = []
    for topic, value in report.items():
        if isinstance(value, dict):
            rows += [(f"{topic}: {name}" if topic != "packages" else name, str(each)) for name, each in value.items()]
        else:
            rows.append((topic, ", ".join(value) if isinstance(value, list) else str(value)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for completing commands in your shell.

    \b
    bash: echo 'eval "$(dptr completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(dptr completion zsh)"' >> ~/.zshrc
    fish: dptr completion fish > ~/.config/fish/completions/dptr.fish
    """
    completion_class = get_completion_class(shell)
    assert completion_class is not None
    print(completion_class(click.get_current_context().find_root().command, {}, "dptr", COMPLETION_VARIABLE).source())
