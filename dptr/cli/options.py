"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A TOML recipe; none = the defaults.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Override a key of the recipe; repeatable.")
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where checkpoints and logs go.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")]
