"""Runs the server: its socket, the timeouts of connections, and the shutdown."""

from __future__ import annotations

import asyncio
import copy
import errno
import signal
import socket
from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from dptr.utils.errors import UserError

HEAD_SECONDS = 10.0  # time to receive the head of a request
KEEP_SECONDS = 130  # time that an idle connection stays open; longer than the idle timeout of usual proxies
_BACKLOG = 512  # connections that wait to be accepted


class TimedProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose request head is incomplete after ``HEAD_SECONDS``.

    Uvicorn alone would wait forever, so that slow clients could occupy all connections.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:  # the head is complete
            self._stop_timer()
        elif self._timer is None:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def bind(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket.

    Args:
        host: a host name or an IP address of this machine.
        port: the port; 0 = any free one.

    Raises:
        UserError: the port is in use or needs root, or there is no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(f"host '{host}': no such address; pass one of this machine, such as 127.0.0.1") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port}: in use; stop the other program, or pass another --port") from error
        if error.errno == errno.EACCES:
            raise UserError(f"port {port}: only root may use it; pass a --port above 1023") from error
        raise UserError(f"host '{host}', port {port}: {error.strerror}; pass an address of this machine") from error
    return bound


def address_of(bound: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def configure(app: FastAPI, seconds: float, logs: bool) -> uvicorn.Config:
    """The configuration of uvicorn; the arguments are as for ``serve``."""
    log_config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    log_config["handlers"]["access"]["stream"] = "ext://sys.stderr"
    return uvicorn.Config(
        app, http=TimedProtocol, ws="none", server_header=False, timeout_graceful_shutdown=max(1, round(seconds)),
        timeout_keep_alive=KEEP_SECONDS, log_level="info" if logs else "warning", access_log=logs,
        log_config=log_config,
    )  # fmt: skip


def serve(app: FastAPI, bound: socket.socket, seconds: float, logs: bool) -> None:
    """Serve until SIGINT, SIGTERM, or SIGHUP, and finish the requests in progress.

    If the process ignores SIGHUP, as under ``nohup``, it stays ignored.

    Args:
        app: the application.
        bound: a listening socket.
        seconds: how long to wait for the requests in progress.
        logs: whether to log one line for each request, with the client's address, the path, and the status only.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn raises the signal again after its shutdown
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: signal.raise_signal(signal.SIGTERM))
    with suppress(KeyboardInterrupt):
        uvicorn.Server(configure(app, seconds, logs)).run(sockets=[bound])
