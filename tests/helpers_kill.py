"""Commands that are killed at random moments, from a seed. ``DPTR_KILLS=200 make slow`` tries more moments."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from helpers_train import Warm

MANY = int(os.environ.get("DPTR_KILLS", "20"))
"""Moments at which a slow test kills a command."""
LONG = [pytest.mark.slow, pytest.mark.timeout(150 * MANY)]
KILLS = [2, pytest.param(MANY, marks=LONG)]


@dataclass
class Killer:
    """Kills commands of a warm process.

    Attributes:
        moments: what draws them.
        left: kills that are still to be done.
    """

    warm: Warm
    moments: random.Random
    left: int

    def kill(self, command: Sequence[str], seconds: float, check: Callable[[], bool | None]) -> bool:
        """Start a command and kill it, within so many seconds, until it gets through once; whether it did.

        Args:
            check: called after each kill, and after it got through; True: nothing is left to do, and the command may
                not be started again.
        """
        while self.left:
            process = self.warm.start(*command)
            time.sleep(self.moments.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
            code, _, said = self.warm.end()
            assert code in (0, -signal.SIGKILL), said
            self.left -= code != 0
            if check() or code == 0:
                return True
        return False
