"""What Prometheus scrapes: the state of the queues now, and counters of the attempts that were settled since each was made."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from qctl import db
from qctl.db import files
from qctl.errors import QctlError
from qctl.models import Armed, AttemptTotal
from qctl.operations import queues

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FORGOTTEN = timedelta(days=1)
# Those of qctl._duration_bounds_ms(), so that a bucket without attempts is there too.
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, math.inf)


class _Attempts(Collector):
    """The counters: what the database says that the attempts add up to.

    Attributes:
        totals: as they were read last.
    """

    def __init__(self) -> None:
        self.totals: list[AttemptTotal] = []

    def collect(self) -> Iterator[Metric]:
        """Yields the families."""
        counter = CounterMetricFamily("qctl_attempts", "Attempts settled.", labels=("queue", "outcome", "status"))
        counts: Counter[tuple[str, str, str]] = Counter()
        measured: dict[str, Counter[float]] = {}
        took_s: dict[str, float] = {}
        for row in self.totals:
            counts[row.queue_name, row.outcome, str(row.status_code or "")] += row.attempts
            if row.up_to_s is not None:
                measured.setdefault(row.queue_name, Counter())[row.up_to_s] += row.attempts
                took_s[row.queue_name] = took_s.get(row.queue_name, 0.0) + row.took_s
        for labels, count in counts.items():
            counter.add_metric(labels, count)
        yield counter
        histogram = HistogramMetricFamily("qctl_attempt_seconds", "Time that the endpoint took.", labels=("queue",))
        for name, by_bound in measured.items():
            histogram.add_metric((name,), _cumulative(by_bound), took_s[name])
        yield histogram


def _cumulative(by_bound: Counter[float]) -> list[tuple[str, float]]:
    """Bounds as Prometheus writes them, each with how many are within it."""
    within, buckets = 0, list[tuple[str, float]]()
    for bound in BOUNDS_S:
        within += by_bound[bound]
        buckets.append(("+Inf" if bound == math.inf else str(bound), within))
    return buckets


class Metrics:
    """The measures of one database. Attempts count in the database, so that no restart and no purge sets them back.

    Args:
        connect: opens a connection; called again after one was lost.
    """

    def __init__(self, connect: Callable[[], db.Connection]) -> None:
        self._connect = connect
        self._connection: db.Connection | None = None
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=self._registry)

        self._depth = gauge("qctl_depth", "Unfinished messages.", "queue", "state")
        self._dead = gauge("qctl_dead_letters", "Dead letters.", "queue")
        self._lag = gauge("qctl_lag_seconds", "Time that the oldest ready message has waited.", "queue")
        self._age = gauge("qctl_age_seconds", "Age of the oldest unfinished message that is not delayed.", "queue")
        self._health = gauge("qctl_health", "1 for the current health of the queue.", "queue", "health")
        self._seen = gauge("qctl_worker_last_seen_seconds", "Time since a worker was seen.", "worker", "transport")
        self._armed = gauge("qctl_armed", "1 if this database may deliver, 0 for a copy.")
        self._scrape = gauge("qctl_scrape_seconds", "Time that the database took for this scrape.")
        self._attempts = _Attempts()
        self._registry.register(self._attempts)

    def scrape(self) -> bytes:
        """The exposition text of now.

        Raises:
            QctlError: the database does not answer (3), or this role may not look (4).
        """
        with self._lock:
            try:
                self._read()
            except QctlError:
                self.close()
                raise
            return generate_latest(self._registry)

    def close(self) -> None:
        """Closes the connection; the next scrape opens another, and counts on."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        began = time.perf_counter()
        self._read_queues(self._connection)
        now = db.fetch(self._connection, Armed, files.query("armed"))[0]
        self._armed.set(now.armed)
        self._read_workers(self._connection, now.at)
        self._attempts.totals = db.call(self._connection, AttemptTotal, "attempt_totals")
        self._scrape.set(time.perf_counter() - began)

    def _read_queues(self, connection: db.Connection) -> None:
        rows = queues.statuses(connection, None)
        for gauge in (self._depth, self._dead, self._lag, self._age, self._health):
            gauge.clear()
        for row in rows:
            name = row.queue_name
            self._lag.labels(name).set(row.lag_s or 0)
            self._age.labels(name).set(row.age_s or 0)
            self._health.labels(name, row.health).set(1)
        # A status counts less far.
        for row in queues.depths(connection, None):
            for state in ("ready", "delayed", "in_flight", "retrying"):
                self._depth.labels(row.queue_name, state).set(getattr(row, state))
            self._dead.labels(row.queue_name).set(row.dead)

    def _read_workers(self, connection: db.Connection, now: datetime) -> None:
        rows = queues.workers(connection)
        self._seen.clear()
        for row in rows:
            seen = row.last_seen_at
            if seen is not None and row.stopped_at is None and now - seen < _FORGOTTEN:
                self._seen.labels(row.name, row.transport).set(max(0.0, (now - seen).total_seconds()))
