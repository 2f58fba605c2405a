"""What Prometheus scrapes: the state of the queues now, and counters of the attempts that were settled since the start."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from qctl import db
from qctl.db import files
from qctl.errors import QctlError
from qctl.models import Armed, MeasuredAttempt
from qctl.operations import attempts, queues

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FORGOTTEN = timedelta(days=1)
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The measures of one database, kept between scrapes. Attempts count from a minute before the first scrape on.

    Args:
        connect: opens a connection; called again after one was lost.
    """

    def __init__(self, connect: Callable[[], db.Connection]) -> None:
        self._connect = connect
        self._connection: db.Connection | None = None
        self._tail: attempts.Tail | None = None
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
        self._attempts = Counter(
            "qctl_attempts", "Attempts settled.", ("queue", "outcome", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "qctl_attempt_seconds",
            "Time that the endpoint took.",
            ("queue",),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )

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
            self._tail = (
                self._tail.on(self._connection) if self._tail else attempts.Tail(self._connection, None, failed=False)
            )
        began = time.perf_counter()
        self._read_queues(self._connection)
        now = db.fetch(self._connection, Armed, files.query("armed"))[0]
        self._armed.set(now.armed)
        self._read_workers(self._connection, now.at)
        self._count(self._connection)
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

    def _count(self, connection: db.Connection) -> None:
        assert self._tail is not None
        for keys in self._tail.fresh():
            values = attempts.named(keys)
            for row in db.fetch_tuples(connection, MeasuredAttempt, files.query("attempts_measured"), values):
                status = str(row.status_code) if row.status_code is not None else ""
                self._attempts.labels(row.queue_name, row.outcome, status).inc()
                if row.duration_ms is not None:
                    self._seconds.labels(row.queue_name).observe(row.duration_ms / 1000)
