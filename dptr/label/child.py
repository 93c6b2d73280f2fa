"""Runs ``dptr`` as a child process of another program: with lower priority than the parent, and no longer than it.

Standard input is a pipe on which the parent writes nothing. The pipe closes when the parent closes it or ends, however
it ends. The command then gets SIGINT, as from Ctrl-C, on which a training saves its state.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run ``dptr`` with the command-line arguments of this process."""
    if hasattr(os, "nice"):
        os.nice(5)
    threading.Thread(target=_end_with_parent, args=(os.dup(0),), daemon=True).start()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    runpy.run_module("dptr", run_name="__main__", alter_sys=True)


def _end_with_parent(pipe: int) -> None:
    """Send SIGINT to this process once the pipe is closed."""
    while os.read(pipe, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.argv[0] = "dptr"
    main()
