"""Who looks at which word now, so that two people are not asked about the same one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from dptr.label.item import Item

SECONDS = 120.0  # for which a word that somebody was shown is not shown to others


class Claims:
    """Words that are being looked at; several threads may use it. It is kept in memory: at worst two see one word."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._held: dict[int, tuple[str, float]] = {}

    def take(self, items: Iterable[Item], person: str, most: int) -> list[Item]:
        """Of these words the first ``most`` that nobody else looks at; they are this person's now."""
        now = time.monotonic()
        taken: list[Item] = []
        with self._lock:
            self._held = {item: held for item, held in self._held.items() if held[1] > now}
            for item in items:
                if len(taken) == most:
                    break
                if self._held.get(item.id, (person, 0))[0] == person:
                    self._held[item.id] = person, now + self._seconds
                    taken.append(item)
        return taken
