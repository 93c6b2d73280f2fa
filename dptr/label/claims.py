"""Which person reviews which word now, so that two people do not get the same word."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from dptr.label.item import Item

SECONDS = 120.0  # for which a word shown to one person is not shown to others


class Claims:
    """The words under review, and by whom. It is safe for threads.

    The claims are in memory only. If they are lost, two people may see the same word; the versions of the store prevent
    that one overwrites the other.

    Args:
        seconds: how long a claim lasts after it was last taken.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._claims: dict[int, tuple[str, float]] = {}  # word id -> person, expiry on the monotonic clock

    def take(self, items: Iterable[Item], person: str, most: int) -> list[Item]:
        """Claim for a person the first ``most`` of these words that no other person has claimed, and return them."""
        now = time.monotonic()
        taken: list[Item] = []
        with self._lock:
            self._claims = {item: claim for item, claim in self._claims.items() if claim[1] > now}
            for item in items:
                if len(taken) == most:
                    break
                if self._claims.get(item.id, (person, 0))[0] == person:
                    self._claims[item.id] = person, now + self._seconds
                    taken.append(item)
        return taken
