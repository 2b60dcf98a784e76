"""The service's figures in Prometheus' text format; each service has a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """Counters of requests, pages and rejections, the latency histogram and the gauges of the queue."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "regionstack_requests", "Requests by path and status", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "regionstack_predict_seconds",
            "Seconds from a prediction request's first byte to its answer, by status",
            ["status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.pages = Counter("regionstack_pages", "Pages classified", registry=registry)
        self.decisions = Counter("regionstack_decisions", "Pages by decision", ["decision"], registry=registry)
        self.rejected = Counter(
            "regionstack_rejected", "Files and requests rejected, by reason", ["reason"], registry=registry
        )
        self.in_progress = Gauge("regionstack_requests_in_progress", "Prediction requests admitted", registry=registry)
        self.reserved = Gauge("regionstack_upload_bytes", "Bytes that uploads in progress may hold", registry=registry)
        self.limit = Gauge("regionstack_queue_limit", "Prediction requests that are admitted", registry=registry)
        self.ready = Gauge("regionstack_ready", "1 if the models are ready to answer", registry=registry)

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return bytes(generate_latest(self._registry))
