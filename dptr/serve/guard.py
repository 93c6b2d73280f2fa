"""What every request passes: who may ask, from where, and what browsers may do with the answer."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import re
import time
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dptr.serve.metrics import Metrics
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json

TOKENS = "DPTR_TOKENS"
"""The environment variable that holds the tokens, with commas or white space between them."""

OPEN = ("/", "/docs", "/label", "/health", "/ready", "/openapi.json")
"""What is answered without a token, beside what is below ``OPEN_BELOW``: the page and its parts, nobody's data."""

OPEN_BELOW = "/static/"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_log = logging.getLogger("uvicorn.error")
_LEAST_TOKEN = 16  # characters
_TOKEN = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # ASCII that can be seen, but for the comma


def parse_tokens(text: str) -> tuple[str, ...]:
    """The tokens of an environment variable; none if it is empty.

    Raises:
        UserError: one is too short to be safe, or could not be sent in a header.
    """
    tokens = tuple(re.split(r"[,\s]+", text.strip(", \t\r\n"))) if text.strip(", \t\r\n") else ()
    for number, token in enumerate(tokens, 1):
        if len(token) < _LEAST_TOKEN or not _TOKEN.fullmatch(token):
            raise UserError(
                f"{TOKENS}: token {number} has {len(token)} characters, or others than visible ASCII; pass "
                f"{_LEAST_TOKEN} or more, such as 'openssl rand -hex 32' writes"
            )
    return tokens


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_address(host: str, tokens: Sequence[str]) -> None:
    """Check that nobody else is let in unasked.

    Raises:
        UserError: others can reach the address, and there is no token.
    """
    if not tokens and not is_loopback(host):
        raise UserError(
            f"host '{host}': others can reach it; set {TOKENS} to a secret of {_LEAST_TOKEN} or more characters, or "
            "pass --host 127.0.0.1"
        )


class Guard:
    """ASGI middleware: tokens, other sites, headers of safety, and counts.

    Without tokens only requests to a loopback name are answered, so that no web site can reach the server through a
    name of its own ("DNS rebinding"). Requests that another site's page sends are refused, whatever they hold.
    """

    def __init__(self, app: ASGIApp, tokens: Sequence[str], metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._tokens = [token.encode() for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                for key, value in HEADERS.items():
                    headers[key] = value
                headers.setdefault("Cache-Control", "no-store")
                message["headers"] = headers.raw
            await send(message)

        refused = self._refuse(scope["path"], Headers(scope=scope))
        with self._metrics.running.track_inprogress():
            try:
                await (refused or self._app)(scope, receive, answer)
            except Exception:  # whatever went wrong, its text is for the log, and the connection gets an answer
                if status:
                    raise
                _log.exception("a request failed")
                await answer_error(500, "an error of the server; its log says more")(scope, receive, answer)
            finally:
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(route, str(status)).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)

    def _refuse(self, path: str, headers: Headers) -> Response | None:
        if not self._tokens and not is_loopback(_host_of(headers.get("host", ""))):
            return answer_error(421, "the name of another host; write http://127.0.0.1 or http://localhost")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and (
            headers.get("sec-fetch-mode") != "navigate" or path not in OPEN
        ):
            return answer_error(403, "sent by the page of another site")
        if self._tokens and path not in OPEN and not path.startswith(OPEN_BELOW):
            kind, _, token = headers.get("authorization", "").partition(" ")
            given = token.strip().encode("latin-1")
            allowed = [hmac.compare_digest(given, each) for each in self._tokens]
            if kind.lower() != "bearer" or not any(allowed):
                return answer_error(
                    401, "no valid token; send 'Authorization: Bearer TOKEN'", {"WWW-Authenticate": "Bearer"}
                )
        return None


def answer_error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as JSON: ``{"error": ...}``, one line."""
    return Response(dump_json({"error": " ".join(message.split())}), status, headers, "application/json")


def _host_of(header: str) -> str:
    """The name in a ``Host`` header, without its port."""
    return header.rpartition("]")[0] + "]" if header.startswith("[") else header.partition(":")[0]
