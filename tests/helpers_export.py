"""Exports in tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping


@contextmanager
def unchecked() -> Iterator[None]:
    """Tracing without the checks of shapes and without pytest's capture of torch's own trace: three times as fast."""
    jaxtyping.config.update("jaxtyping_disable", True)
    trace = logging.getLogger("torch.__trace")
    level = trace.level
    trace.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        trace.setLevel(level)
        jaxtyping.config.update("jaxtyping_disable", False)
