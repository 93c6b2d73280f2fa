"""Middleware: checks the token, host, and origin of every request, and adds security headers to every response."""

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
"""The environment variable with the tokens, separated by commas or white space."""

OPEN = ("/", "/docs", "/label", "/health", "/ready", "/openapi.json")
"""Paths that need no token: pages and status, without anyone's data. Paths below ``OPEN_BELOW`` need none either."""

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
_LEAST_TOKEN = 16  # characters of a token, at least
_TOKEN = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # visible ASCII except the comma


def parse_tokens(text: str) -> tuple[str, ...]:
    """The tokens in the value of ``TOKENS``; none if it is empty.

    Raises:
        UserError: a token is too short, or has characters that a header cannot carry.
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
    """Whether a host name or an IP address, which may be in brackets, is a loopback address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_address(host: str, tokens: Sequence[str]) -> None:
    """Check that other machines can reach the server only if it has tokens.

    Raises:
        UserError: ``host`` is not a loopback address, and there are no tokens.
    """
    if not tokens and not is_loopback(host):
        raise UserError(
            f"host '{host}': others can reach it; set {TOKENS} to a secret of {_LEAST_TOKEN} or more characters, or "
            "pass --host 127.0.0.1"
        )


class Guard:
    """ASGI middleware: checks each request, adds ``HEADERS`` to each response, and counts requests.

    Without tokens, only requests to a loopback host name are served. Otherwise a web site could point its own name at
    this machine, and its pages could read from the server (DNS rebinding). Requests from pages of other sites are
    refused (``Sec-Fetch-Site``); only links to the paths in ``OPEN`` are followed. An exception of the application
    becomes a response with status 500.

    Args:
        app: the application behind the middleware.
        tokens: each request outside ``OPEN`` and ``OPEN_BELOW`` needs one of them; none = see above.
        metrics: counts requests and their durations.
    """

    def __init__(self, app: ASGIApp, tokens: Sequence[str], metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._tokens = [token.encode() for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
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

        refusal = self._refuse(scope["path"], Headers(scope=scope))
        with self._metrics.running.track_inprogress():
            try:
                await (refusal or self._app)(scope, receive, answer)
            except Exception:  # the log gets the exception; the client gets a response without details
                if status:
                    raise
                _log.exception("a request failed")
                await answer_error(500, "an error of the server; its log says more")(scope, receive, answer)
            finally:
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(route, str(status)).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _refuse(self, path: str, headers: Headers) -> Response | None:
        """The response to a request that is refused: 421, 403, or 401; None if it may pass."""
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
    """A response with an error as JSON, ``{"error": message}``; white space in the message becomes single spaces."""
    return Response(dump_json({"error": " ".join(message.split())}), status, headers, "application/json")


def _host_of(header: str) -> str:
    """The host name in a ``Host`` header, without the port."""
    return header.rpartition("]")[0] + "]" if header.startswith("[") else header.partition(":")[0]
