"""Servers in a thread, and the browser that visits them: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from helpers_serve import find_all, make_app

from dptr.photo.detect import Detector
from dptr.serve.server import address_of, bind, configure

CHROMIUM = shutil.which("chromium")
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")


@contextmanager
def serving(detector: Detector = find_all, **options: Any) -> Iterator[str]:
    """The address of ``dptr serve``."""
    running = uvicorn.Server(configure(make_app(detector, **options), 1, logs=False))
    bound = bind("127.0.0.1", 0)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield address_of(bound)
    finally:
        running.should_exit = True
        thread.join(10)


class _Folder(SimpleHTTPRequestHandler):
    isolated = False

    def end_headers(self) -> None:
        if self.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class _IsolatedFolder(_Folder):
    isolated = True


@contextmanager
def serving_folder(folder: Path, isolated: bool = False) -> Iterator[str]:
    """The address of a folder; ``isolated``: with the headers that let its pages use several threads."""
    handler = _IsolatedFolder if isolated else _Folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextmanager
def browsing() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # as root, as CI runs, Chromium has no sandbox
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def visiting(browser: Any, address: str, path: str = "", **options: Any) -> Iterator[Any]:
    """A page that must not complain, nor ask any other host for anything; nor may its workers."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
    context.set_default_timeout(120_000)
    said: list[str] = []
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    context.on("weberror", lambda error: said.append(str(error.error)))
    page = context.new_page()
    page.goto(address + path)
    yield page
    context.close()
    assert said == []
    assert len(asked) > 3 and all(url.startswith((address, "blob:", "data:")) for url in asked)
