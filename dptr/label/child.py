"""``dptr`` as the child of another program: it yields the machine to that, and ends with it.

Its standard input is a pipe that nobody writes to. When it closes, because the parent closes it or is no more, however
it ended, the command gets Ctrl-C: a training then saves its state.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run ``dptr`` with the arguments of this program."""
    if hasattr(os, "nice"):
        os.nice(5)
    threading.Thread(target=_end_with_parent, args=(os.dup(0),), daemon=True).start()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    runpy.run_module("dptr", run_name="__main__", alter_sys=True)


def _end_with_parent(pipe: int) -> None:
    while os.read(pipe, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.argv[0] = "dptr"
    main()
