"""What a server takes at most, and how it refuses what is more."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from dptr.utils.errors import TooLarge, UnknownKind, UserError


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take. All are above 0.

    Attributes:
        megabytes: of 10^6 bytes, of the body of a request.
        held: megabytes of the bodies of all requests that are not answered yet; where it is below
            ``megabytes``, that counts.
        pixels: millions, of a picture, a frame, or a page of a PDF.
        pictures: in one request; each page of a PDF and each frame counts.
        queue: pictures that wait for their turn, of all requests.
        seconds: from the last byte of a request to its answer.
        upload: seconds that the body of a request may take.
        words: in a lexicon.
        pattern: characters in a pattern.
    """

    megabytes: float = 32
    held: float = 512
    pixels: float = 50
    pictures: int = 64
    queue: int = 256
    seconds: float = 120
    upload: float = 30
    words: int = 10_000
    pattern: int = 500

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0 < getattr(self, each.name) < math.inf:
                raise UserError(f"limit {each.name} {getattr(self, each.name)}: pass a number above 0")
        if self.pictures > self.queue:
            raise UserError(
                f"limit queue {self.queue}: below the {self.pictures} pictures of one request; raise it, or lower those"
            )

    @property
    def most_bytes(self) -> int:
        return int(1e6 * self.megabytes)

    @property
    def most_held_bytes(self) -> int:
        return int(1e6 * max(self.held, self.megabytes))

    @property
    def most_pixels(self) -> int:
        return int(1e6 * self.pixels)


class Refusal(Exception):
    """A request that is not served.

    Args:
        status: of HTTP.
        message: one line for whoever sent it.
        headers: of the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


def refuse_busy(seconds: int) -> Refusal:
    """503.

    Args:
        seconds: after which it is worth another try.
    """
    return Refusal(503, "too many requests are waiting; try again later", {"Retry-After": str(seconds)})


def status_of(error: UserError) -> int:
    """The status of HTTP for a picture that could not be read."""
    return 413 if isinstance(error, TooLarge) else 415 if isinstance(error, UnknownKind) else 422
