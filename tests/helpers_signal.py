"""Programs that tests send signals to."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from typing import Any


def start(command: Sequence[str], **options: Any) -> subprocess.Popen:
    """``subprocess.Popen``, with Ctrl-C as a terminal has it.

    Tests started in the background (``make test &``, nohup, some CI) ignore it, a program inherits that, and DPTR goes
    on ignoring it, deliberately.
    """
    return subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options)
