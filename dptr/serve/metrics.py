"""The metrics of a server, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

from dptr.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECOND_BUCKETS = 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60
_SIZE_BUCKETS = 1, 2, 4, 8, 16, 32, 64, 128


class Metrics:
    """The metrics of one server. They contain no file names, no text that was read, and no addresses of clients."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dptr_requests", "Requests that were answered.", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "dptr_request_seconds", "From the head of a request to its answer.", ("route",), buckets=_SECOND_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.running = Gauge("dptr_requests_running", "Requests without an answer yet.", registry=self.registry)
        self.together = Histogram(
            "dptr_batch_pictures", "Pictures that were read together.", ("kind",), buckets=_SIZE_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self._waiting = Gauge("dptr_waiting_pictures", "Pictures in the queue.", ("kind",), registry=self.registry)
        Info("dptr_build", "The version.", registry=self.registry).info({"version": __version__})
        ProcessCollector(registry=self.registry)

    def watch_queue(self, kind: str, count: Callable[[], int]) -> None:
        """Export the length of a queue; ``count`` is called for each scrape."""
        self._waiting.labels(kind).set_function(count)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
