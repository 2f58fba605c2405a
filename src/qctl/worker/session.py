"""A worker's session with PostgreSQL: the one place of its SQL calls."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from qctl import __version__, db
from qctl.models import Claimed, Settled, Sleeper, Upkeep, WorkQueue
from qctl.worker import carriers
from qctl.worker.request import Answer

MAINTENANCE_FOR = "0.5 s"
CONNECT_WITHIN_S = 10.0


class WorkerSession:
    """The connection of one worker, and its registration.

    Every method raises :class:`qctl.errors.QctlError`; 3 means that the connection was lost.

    Args:
        connect: opens a connection within so many seconds; called again by :meth:`open` after the connection was lost.
        until: an instant, on the monotonic clock, at which every statement ends.
    """

    def __init__(self, connect: Callable[[float], db.Connection], until: Callable[[], float]) -> None:
        self._connect = connect
        self._until = until
        self._connection: db.Connection | None = None
        self._on_notify: Callable[[str], None] = lambda _payload: None
        self.worker_id: int | None = None

    @property
    def connection(self) -> db.Connection:
        """The open connection."""
        assert self._connection is not None
        return self._connection

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._connection is None or self._connection.closed

    def open(self) -> None:
        """Connects."""
        self._connection = self._connect(min(CONNECT_WITHIN_S, self._until() - time.monotonic()))
        self._connection.until = self._until

    def close(self) -> None:
        """Closes the connection; safe when it is already gone."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()

    def is_pooled(self) -> bool:
        """Whether a pooler stands between."""
        return db.is_pooled(self.connection)

    def listen(self, on_notify: Callable[[str], None]) -> None:
        """Calls ``on_notify`` with the payload of each notification of capture, from now on."""
        self._on_notify = on_notify
        self.connection.add_notify_handler(lambda notice: on_notify(notice.payload))
        with db.translating():
            self.connection.execute("listen qctl")

    def fileno(self) -> int:
        """The descriptor that becomes readable when a notification comes."""
        with db.translating():
            return self.connection.fileno()

    def read_notifications(self) -> None:
        """Reads what has come on the connection, without asking the server for anything."""
        pgconn = self.connection.pgconn
        with db.translating():
            pgconn.consume_input()
            while (notice := pgconn.notifies()) is not None:
                self._on_notify(notice.extra.decode())

    def queues(self, names: list[str] | None) -> list[WorkQueue]:
        """The queues of these names, or all, whatever their transport."""
        return db.call(self.connection, WorkQueue, "work_queues", queues=names)

    def broker_options(self, queue: str) -> dict[str, str]:
        """The options of the connection to the broker of a queue, with the values of secrets."""
        return db.call_value(self.connection, "broker_options", queue=queue)[0]

    def require_queue(self, name: str) -> None:
        """Raises the error of an unknown queue (6) if there is none of that name."""
        db.call_value(self.connection, "_queue", queue=name)

    def register(self, queues: list[str]) -> None:
        """Registers the worker anew."""
        self.worker_id = db.call_value(
            self.connection,
            "register_worker",
            name=f"{socket.gethostname()}:{os.getpid()}",
            transport="http",
            queues=queues,
            version=__version__,
            carriers=carriers.available(),
        )[0]

    def heartbeat(self, queues: list[str]) -> bool:
        """Reports that the worker lives; False if it is not registered or was taken for gone."""
        if self.worker_id is None:
            return False
        return db.call_value(self.connection, "heartbeat", worker_id=self.worker_id, queues=queues)[0]

    def unregister(self) -> None:
        """Ends the registration: leases that are left need not run out first."""
        db.call_value(self.connection, "unregister_worker", worker_id=self.worker_id)

    def upkeep(self) -> None:
        """Lapses expired leases and those of silent workers; one worker at a time does it."""
        db.call(self.connection, Upkeep, "upkeep")

    def maintain(self) -> None:
        """Does what a pg_cron job does where there is one; twice does no harm."""
        db.call_procedure(self.connection, "maintenance", **{"for": MAINTENANCE_FOR})

    def claim(self, queue: str, limit: int, max_bytes: int) -> list[Claimed]:
        """Leases up to ``limit`` ready messages of together ``max_bytes``, but always one."""
        return db.call_tuples(
            self.connection, Claimed, "claim", queue=queue, limit=limit, worker_id=self.worker_id, max_bytes=max_bytes
        )

    def settle(self, queue: str, answers: list[Answer]) -> Settled:
        """Settles answers and returns how many messages went which way."""
        return db.call(
            self.connection,
            Settled,
            "settle",
            queue=queue,
            lease=[a.request.message.lease for a in answers],
            msg_id=[a.request.message.msg_id for a in answers],
            status=[a.status for a in answers],
            error=[a.error for a in answers],
            response=[a.response for a in answers],
            duration_ms=[a.duration_ms for a in answers],
            retry_after_s=[a.retry_after_s for a in answers],
        )[0]

    def claim_queues(self, asked: list[tuple[str, int, int]]) -> list[tuple[str, Claimed | None]]:
        """Claims from several queues at once.

        Args:
            asked: names, with the limit and the bytes of each as in :meth:`claim`.

        Returns:
            Each message with its queue; None for a queue that must be claimed from by itself.
        """
        names, limits, most = zip(*asked, strict=True)
        return db.call_tuples(
            self.connection,
            _with_queue,
            "claim_queues",
            queues=list(names),
            limits=list(limits),
            max_bytes=list(most),
            worker_id=self.worker_id,
        )

    def settle_queues(self, answers: list[Answer]) -> set[tuple[str, int]]:
        """Settles successes of several queues at once; returns lease and message of those that it has settled."""
        settled = db.call_tuples(
            self.connection,
            _without_queue,
            "settle_queues",
            queues=[a.request.queue for a in answers],
            lease=[a.request.message.lease for a in answers],
            msg_id=[a.request.message.msg_id for a in answers],
            status=[a.status for a in answers],
            response=[a.response for a in answers],
            duration_ms=[a.duration_ms for a in answers],
        )
        return set(settled)

    def release(self, queue: str, unsent: list[Answer]) -> None:
        """Gives back messages that were claimed and not sent; no attempt is spent."""
        db.call_value(
            self.connection,
            "release",
            queue=queue,
            lease=[a.request.message.lease for a in unsent],
            msg_id=[a.request.message.msg_id for a in unsent],
        )

    def ready_queues(self, names: list[str]) -> list[str]:
        """Those of these queues that have a ready message."""
        return db.call_value(self.connection, "ready_queues", queues=names)

    def fall_asleep(self, queue: str) -> bool:
        """Takes the lock that makes writers notify; False if a writer is under way."""
        found = db.call(self.connection, Sleeper, "fall_asleep", queues=[queue])
        return bool(found and found[0].asleep)

    def wake_up(self, queue_ids: list[int]) -> None:
        """Gives those locks back."""
        db.call_value(self.connection, "wake_up", queue_ids=queue_ids)


def _with_queue(queue: str, msg_id: int | None, *rest: Any) -> tuple[str, Claimed | None]:
    return queue, None if msg_id is None else Claimed(msg_id, *rest)


def _without_queue(_queue: str, lease: str, msg_id: int) -> tuple[str, int]:
    return lease, msg_id
