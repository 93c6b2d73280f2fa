"""Servers in a thread, and the browser that visits them: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
    running = uvicorn.Server(configure(make_app(detector, **options), 1, logs=False))
    bound = bind("127.0.0.1", 0)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield address_of(bound)
    finally:
        running.should_exit = True
        thread.join(10)


@contextmanager
def visiting(browser: Any, address: str, path: str = "", **options: Any) -> Iterator[Any]:
    """A page that must not complain, nor ask any other host for anything."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
    context.set_default_timeout(60_000)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address + path)
    yield page
    context.close()
    assert said == []
    assert len(asked) > 3 and all(url.startswith((address, "blob:", "data:")) for url in asked)
