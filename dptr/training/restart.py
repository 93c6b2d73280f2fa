"""Elastic restarts: with ``torchrun --max-restarts`` a run that lost a process goes on by itself.

torchrun then ends all processes and starts the same command again, without ``--resume``. A run goes on if the same
launch began it: the folder of a run keeps which one did. So a folder that held another run before stays refused,
however often the launcher tries.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dptr.utils.errors import UserError
from dptr.utils.files import lock_folder, read_json, write_json

PATIENCE = 60.0  # seconds in which a process of the attempt before may end, on another machine, say
_LAUNCH = "launch.json"
_SCHEME = "attempt"


def note_launch(out: Path) -> None:
    """Keep in the run's folder which launch trains there; for launches that restart."""
    if launch := _launch():
        write_json(out / _LAUNCH, {"launch": launch})
    else:
        (out / _LAUNCH).unlink(missing_ok=True)


def is_restart(out: Path) -> bool:
    """Whether this process was started because one was lost, by the launch that trained in ``out``."""
    launch = _launch()
    if not launch or not _attempt() or not (out / _LAUNCH).is_file():
        return False
    return read_json(out / _LAUNCH, "launch of the run") == {"launch": launch}


def await_release(out: Path) -> None:
    """Wait until no process of the attempt before writes in ``out`` any more.

    Raises:
        UserError: one still does after ``PATIENCE`` seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with lock_folder(out, alone=False):
                return
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def store_of_attempt() -> str:
    """The address at which this attempt's processes meet, for ``torch.distributed``; empty: torch's own.

    torchrun's attempts share one store, in which a restarted process would find where processes of the attempt before
    listened (pytorch/pytorch#135712). So each attempt has keys of its own. Where ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE``
    is 1, torchrun itself makes a store for each.
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not shared or not _attempt() or os.environ.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE") == "1":
        return ""
    from torch.distributed import register_rendezvous_handler
    from torch.distributed.rendezvous import _rendezvous_handlers

    if _SCHEME not in _rendezvous_handlers:
        register_rendezvous_handler(_SCHEME, _meet)
    return f"{_SCHEME}://"


def _meet(url: str, **options: Any) -> Iterator[tuple[Any, int, int]]:
    from torch.distributed import PrefixStore, rendezvous

    for store, rank, processes in rendezvous("env" + url.removeprefix(_SCHEME), **options):
        yield PrefixStore(f"attempt-{_attempt()}", store), rank, processes


def _attempt() -> int:
    """How often the launcher has restarted."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _launch() -> str:
    """What torchrun's attempts have in common: its ``--rdzv-id``, else the launching process; empty: no restarts."""
    if not int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")):
        return ""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return name if name != "none" else f"process {os.getppid()} of {socket.gethostname()}"
