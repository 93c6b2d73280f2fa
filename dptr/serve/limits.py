"""The limits of a server, and the responses to requests that exceed them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from dptr.utils.errors import TooLarge, UnknownKind, UserError


@dataclass(frozen=True)
class Limits:
    """The limits of a single request, and of all requests together. All are finite and above 0.

    Attributes:
        megabytes: the body of a request, in units of 10^6 bytes.
        held: the bodies of all unanswered requests together, in units of 10^6 bytes. If it is smaller than
            ``megabytes``, ``megabytes`` applies.
        pixels: a picture, a frame, or a page of a PDF, in millions of pixels.
        pictures: pictures in one request; each page of a PDF and each frame counts.
        queue: pictures of all requests in the queue.
        seconds: the time from the last byte of a request to its response.
        upload: the time to receive the body of a request, in seconds.
        words: words in a lexicon.
        pattern: characters in a pattern.

    Raises:
        UserError: a limit is not finite or not above 0, or ``pictures`` is above ``queue``.
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
        for limit in fields(self):
            if not 0 < getattr(self, limit.name) < math.inf:
                raise UserError(f"limit {limit.name} {getattr(self, limit.name)}: pass a number above 0")
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
    """A request that the server refuses.

    Args:
        status: the HTTP status of the response.
        message: one line for the client.
        headers: additional headers of the response.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


def refuse_busy(seconds: int) -> Refusal:
    """A refusal with status 503, because the server is overloaded.

    Args:
        seconds: the value of ``Retry-After``.
    """
    return Refusal(503, "too many requests are waiting; try again later", {"Retry-After": str(seconds)})


def status_of(error: UserError) -> int:
    """The HTTP status for a picture that could not be read: 413 too large, 415 of an unknown kind, otherwise 422."""
    return 413 if isinstance(error, TooLarge) else 415 if isinstance(error, UnknownKind) else 422
