"""Elastic restarts: with ``torchrun --max-restarts``, a run that lost a process resumes by itself.

torchrun then ends all processes and starts the same command again, without ``--resume``. The run resumes only if the
same launch began it, which is recorded in its folder. So a launch never continues another run, however often it
restarts.
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

PATIENCE = 60.0  # seconds that processes of the previous attempt, perhaps on another machine, get to end
_LAUNCH = "launch.json"
_SCHEME = "attempt"


def note_launch(out: Path) -> None:
    """Record in the run's folder which launch trains there, if the launch can restart."""
    if launch := _launch():
        write_json(out / _LAUNCH, {"launch": launch})
    else:
        (out / _LAUNCH).unlink(missing_ok=True)


def is_restart(out: Path) -> bool:
    """Whether this process is a restart by the launch that trained in ``out``."""
    launch = _launch()
    if not launch or not _attempt() or not (out / _LAUNCH).is_file():
        return False
    return read_json(out / _LAUNCH, "launch of the run") == {"launch": launch}


def await_release(out: Path) -> None:
    """Wait until no process of the previous attempt holds the lock of ``out``.

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


def rendezvous_address() -> str:
    """The ``init_method`` with which this attempt's processes find each other; empty for torch's default.

    torchrun's attempts share one store, in which a restarted process would find the addresses of the previous attempt's
    processes (pytorch/pytorch#135712). So each attempt prefixes its keys. With
    ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`` torchrun itself makes a store for each attempt.
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not shared or not _attempt() or os.environ.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE") == "1":
        return ""
    from torch.distributed import register_rendezvous_handler
    from torch.distributed.rendezvous import _rendezvous_handlers

    if _SCHEME not in _rendezvous_handlers:
        register_rendezvous_handler(_SCHEME, _rendezvous)
    return f"{_SCHEME}://"


def _rendezvous(url: str, **options: Any) -> Iterator[tuple[Any, int, int]]:
    from torch.distributed import PrefixStore, rendezvous

    for store, rank, processes in rendezvous("env" + url.removeprefix(_SCHEME), **options):
        yield PrefixStore(f"attempt-{_attempt()}", store), rank, processes


def _attempt() -> int:
    """How often the launcher has restarted."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _launch() -> str:
    """Identity of the launch in all its attempts: torchrun's ``--rdzv-id``, or its process; empty without restarts."""
    if not int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")):
        return ""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return name if name != "none" else f"process {os.getppid()} of {socket.gethostname()}"
