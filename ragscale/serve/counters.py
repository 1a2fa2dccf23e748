"""Counters of a server, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from ragscale.index import Index
from ragscale.serve.limits import Admission

__all__ = ["CONTENT_TYPE", "Counters"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Counters:
    """The counters of one server.

    Args:
        index: The load of its broker is collected.
        admission: The number of its queries is collected.
    """

    def __init__(self, index: Index, admission: Admission) -> None:
        # a registry of its own: two servers in a process count apart
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ragscale_requests", "Requests by endpoint and status.", ["endpoint", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "ragscale_request_seconds",
            "From a request's head to the end of its reply.",
            ["endpoint"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._queries = Counter("ragscale_queries", "Queries searched for.", registry=self._registry)
        self._registry.register(_Load(index, admission))

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request; status 499 stands for a client that went away."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def refused(self, status: int) -> None:
        """Count what was answered before its head was read: it has no endpoint, and its time would tell nothing."""
        self._requests.labels("other", str(status)).inc()

    def searched(self, queries: int) -> None:
        """Count queries that were answered."""
        self._queries.inc(queries)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)


class _Load(Collector):
    """Load of the broker and of the queue, read at each collection."""

    def __init__(self, index: Index, admission: Admission) -> None:
        self._index = index
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        load = self._index.load
        yield GaugeMetricFamily("ragscale_queries_in_flight", "Queries waiting or searched.", self._admission.inside)
        yield GaugeMetricFamily("ragscale_queue_depth", "Searches that wait for the next batch.", load.waiting)
        yield CounterMetricFamily("ragscale_batches", "Batches that the broker ran.", load.batches)
        yield CounterMetricFamily("ragscale_batched_searches", "Searches in those batches.", load.requests)
