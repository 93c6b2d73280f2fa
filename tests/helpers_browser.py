"""The page that reads in the browser, served from its folder as any web server would."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")


class _Quiet(SimpleHTTPRequestHandler):
    isolated = False

    def end_headers(self) -> None:
        if self.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class _Isolated(_Quiet):
    isolated = True


@contextmanager
def serving(folder: Path, isolated: bool = False) -> Iterator[str]:
    """The address of a folder; ``isolated``: with the headers that let its pages use several threads."""
    handler = _Isolated if isolated else _Quiet
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
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
def visiting(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page that must not complain, nor ask any other host for anything."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
    context.set_default_timeout(120_000)
    said: list[str] = []
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))  # those of the worker too
    context.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    context.on("weberror", lambda error: said.append(str(error.error)))
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()
    assert said == []
    assert len(asked) > 3 and all(url.startswith((address, "blob:", "data:")) for url in asked)
