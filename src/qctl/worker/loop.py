"""The worker's life: it begins, goes round, waits, reconnects and ends. What it does with messages is in ``delivery.py``."""

import gc
import math
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from qctl import db
from qctl.errors import ExitCode, QctlError
from qctl.worker.carriers.all_carriers import AllCarriers
from qctl.worker.clock import clock
from qctl.worker.delivery import BUSY_S, Delivery
from qctl.worker.mode import Mode
from qctl.worker.queue_set import QueueSet
from qctl.worker.queue_state import SHORTEST_POLL_S
from qctl.worker.request import Answer, Egress
from qctl.worker.session import WorkerSession
from qctl.worker.sleep import Sleep
from qctl.worker.totals import Totals

MAX_BYTES = 32 << 20
HEARTBEAT_S = 5.0
ALIVE_S = 12.0
REPORT_S = 60.0
MAINTENANCE_S = 60.0
ROUND_WITHIN_S = 60.0
FINISH_S = 2.0

_PASSING = (ExitCode.CANNOT_CONNECT, ExitCode.BUSY)


def wake_pipe() -> tuple[int, int]:
    """A pipe that ends a wait, read end first. Given to ``signal.set_wakeup_fd`` also when a thread other than the main one
    took the signal: its handler runs only when the main one goes on."""
    out, into = os.pipe()
    os.set_blocking(out, False)
    os.set_blocking(into, False)
    return out, into


def _silent(_line: str) -> None:
    pass


def _ignore(_totals: Totals) -> None:
    pass


@dataclass
class Worker:
    """One worker process.

    Args:
        connect: opens a connection within so many seconds; called again after the connection was lost.
        queues: names, or None for every queue of the http transport that this worker has a carrier for, new ones included.
        mode: when to end by itself.
        concurrency: simultaneous requests per queue; None for each queue's own setting.
        grace_s: how long a stop waits for requests under way; what is not answered by then lapses and is tried again.
        listen: use LISTEN and advisory locks to wake at once, which no transaction pooler lets through; None for not behind
            a pooler.
        max_bytes: payloads to hold at once, of all queues; each queue may hold one message whatever its size.
        allow_private: send to any address, for every queue.
        egress: a proxy, authorities and a certificate for the requests.
        talk: called with each line for people.
        on_totals: called after each change of the totals.
        on_answer: called with each attempt's answer, before it is settled.
    """

    connect: Callable[[float], db.Connection]
    queues: list[str] | None = None
    mode: Mode = Mode.FOREVER
    concurrency: int | None = None
    grace_s: float = 30.0
    listen: bool | None = None
    max_bytes: int = MAX_BYTES
    allow_private: bool = False
    egress: Egress = field(default_factory=Egress)
    talk: Callable[[str], None] = _silent
    on_totals: Callable[[Totals], None] = _ignore
    on_answer: Callable[[Answer], None] | None = None
    totals: Totals = field(default_factory=Totals)

    def __post_init__(self) -> None:
        self._stop_at: float | None = None
        self._is_ready = False
        self._beat_at = time.monotonic()
        self._told_stop = False
        self._next_maintenance = 0.0
        self._next_heartbeat = 0.0
        self._next_report = time.monotonic() + REPORT_S
        self._reported = ""
        self._pause_s = 0.1
        self._wake_out, self.wake_fd = wake_pipe()
        self._sender = AllCarriers(self._wake, self.egress)
        self._session = WorkerSession(self.connect, self._ends_at)
        self._sleep = Sleep(self._session)
        self._queues = QueueSet(
            self._session,
            self._sender,
            self.queues,
            self.concurrency,
            allow_private=self.allow_private,
            needs_arming=self.mode is not Mode.FOREVER,
            talk=self.talk,
        )
        self._delivery = Delivery(
            self._session,
            self._sender,
            self._queues,
            self._sleep,
            mode=self.mode,
            free_bytes=self.max_bytes,
            totals=self.totals,
            on_totals=self.on_totals,
            on_answer=self.on_answer,
            talk=self.talk,
        )

    def stop(self) -> None:
        """Asks the worker to end: nothing more is claimed, what is in flight is settled. Safe in a signal handler."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self.grace_s
        self._wake()

    def _ends_at(self) -> float:
        """When every statement ends, whatever the server does."""
        return math.inf if self._stop_at is None else self._stop_at + FINISH_S

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self.wake_fd, b"x")

    def run(self) -> Totals:
        """Works until stopped, or as the mode says.

        Raises:
            QctlError: the first connection fails (3), a queue is unknown (6), the schema is not there (5); answers were
                left that could not be settled, so those messages will be sent again (9).
        """
        self._session.open()
        # Messages are tuples of plain values, without cycles: looking for those among them was 3 % of the work.
        gc.freeze()
        gc.set_threshold(50_000)
        try:
            self._begin()
            self._sender.start()
            try:
                self._work()
            finally:
                self._finish()
        finally:
            self._sender.close()
            self._session.close()
        if cut := sum(queue.outstanding for queue in self._queues):
            self.talk(f"{cut} requests had no answer in time; their messages are sent again")
        if left := sum(len(queue.unsettled) for queue in self._queues):
            raise QctlError(
                f"{left} answers could not be settled; their messages are sent again",
                hint="check the database: qctl status",
                code=ExitCode.PARTLY_DONE,
            )
        return self.totals

    def alive(self, within_s: float = ROUND_WITHIN_S) -> bool:
        """Whether the loop went round lately. For other threads."""
        return time.monotonic() - self._beat_at < within_s

    def ready(self) -> bool:
        """Whether it is connected and registered, and not about to end. For other threads."""
        return self._is_ready and self._stop_at is None and self.alive()

    def _work(self) -> None:
        while not self._is_over():
            self._beat_at = time.monotonic()
            try:
                self._step()
                self._is_ready = True
                self._pause_s = 0.1
            except QctlError as error:
                if error.code not in _PASSING:
                    raise
                self._recover(error)

    def _finish(self) -> None:
        """Settles what has come and signs off, whatever ended the work."""
        self._sender.hand_back()
        self._delivery.take_answers()
        for queue in self._queues:
            queue.held.clear()
        for step in (
            lambda: self._delivery.settle(everything=True),
            self._delivery.release_unsent,
            self._session.unregister,
        ):
            with suppress(QctlError, psycopg.Error):
                step()

    def _begin(self) -> None:
        """What a new connection needs: the worker's registration, the queues, notifications."""
        self._queues.read()
        self._heartbeat()
        for queue in self._queues:
            queue.asleep = queue.watched = False
            queue.saw_work()
        self._sleep.begin(self.listen, self.talk)

    def _is_over(self) -> bool:
        busy = any(queue.busy for queue in self._queues)
        if self._stop_at is not None:
            return not busy or time.monotonic() > self._stop_at
        if self.mode is Mode.FOREVER or busy:
            return False
        if self.mode is Mode.ONCE:
            return all(queue.claimed_once for queue in self._queues)
        return all(queue.drained for queue in self._queues)

    def _step(self) -> None:
        if self._sender.failure is not None:
            raise QctlError(
                f"the sender failed: {self._sender.failure!r}",
                hint="start the worker again; messages that were in flight are sent again",
                code=ExitCode.BUG,
            )
        now = time.monotonic()
        if now >= self._next_heartbeat:
            self._queues.read()
            self._heartbeat()
        self._delivery.take_answers()
        self._delivery.settle()
        self._delivery.release_unsent()
        if self._stop_at is not None:
            if not self._told_stop:
                self._told_stop = True
                self.talk("stopping: messages in flight are settled first")
                for queue in self._queues:
                    queue.held.clear()
            self._sender.hand_back()
        else:
            self._sleep.end(self._queues, now)
            self._delivery.claim()
        self._report(now)
        if not self._is_over():
            self._wait()

    def _heartbeat(self) -> None:
        before = clock()
        names = self._queues.names
        if not self._session.heartbeat(names):
            # Taken for gone: what was claimed under the old registration may be with another worker by now.
            self._sender.valid_since = before
            self._session.register(names)
        self._sender.alive_until = before + ALIVE_S
        self._next_heartbeat = time.monotonic() + HEARTBEAT_S
        try:
            self._session.upkeep()
        except QctlError as error:
            if error.code is ExitCode.CANNOT_CONNECT or self._session.closed:
                raise
            self.talk(f"upkeep is postponed: {error.message}")
        self._maintain()

    def _maintain(self) -> None:
        """Once a minute what a pg_cron job does where there is one; twice does no harm."""
        if time.monotonic() < self._next_maintenance:
            return
        self._next_maintenance = time.monotonic() + MAINTENANCE_S
        try:
            self._session.maintain()
        except QctlError as error:
            if error.code is ExitCode.CANNOT_CONNECT or self._session.closed:
                raise
            self.talk(f"maintenance is postponed: {error.message}")

    def _report(self, now: float) -> None:
        """Once a minute, the totals, if they changed."""
        if now >= self._next_report and self.mode is Mode.FOREVER:
            self._next_report = now + REPORT_S
            if (line := str(self.totals)) != self._reported:
                self._reported = line
                self.talk(line)

    def _wait(self) -> None:
        now = time.monotonic()
        moments = [self._next_heartbeat]
        if self._delivery.settle_by is not None:
            moments.append(self._delivery.settle_by)
        moments.append(self._sleep.wakes_at)
        if self._stop_at is not None:
            moments.append(self._stop_at)
        else:
            for queue in self._queues:
                moments += [until for until in queue.held.values() if until > now]
                if queue.is_held("claim") or queue.is_held("settle"):
                    continue
                if queue.asleep:
                    moments.append(self._sleep.next_look)
                elif queue.has_room(self._delivery.free_bytes) and not (self.mode is Mode.ONCE and queue.claimed_once):
                    moments.append(queue.poll_at if queue.poll_at > now else now + SHORTEST_POLL_S)
        fd = self._session.fileno()
        if fd in self._poll(max(0.0, min(moments) - now), fd):
            self._session.read_notifications()

    def _poll(self, timeout_s: float, *fds: int) -> set[int]:
        """Waits until the sender or a signal wakes us, or one of these is readable."""
        poller = select.poll()
        for fd in (self._wake_out, *fds):
            poller.register(fd, select.POLLIN)
        readable = {fd for fd, _ in poller.poll(timeout_s * 1000)}
        if self._wake_out in readable:
            os.read(self._wake_out, 65536)
        return readable

    def _recover(self, error: QctlError) -> None:
        """After a lost connection: tries again with growing pauses; answers are kept and settled then."""
        if error.code is ExitCode.BUSY and not self._session.closed:
            self._poll(BUSY_S)
            return
        self.talk(f"{error.message}; trying again")
        self._is_ready = False
        while True:
            self._beat_at = time.monotonic()
            self._session.close()
            if self._is_over():
                return
            until = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, 5.0)
            while (left_s := until - time.monotonic()) > 0 and not self._is_over():
                self._poll(left_s)
                self._delivery.take_answers()
            try:
                self._session.open()
                self._begin()
            except QctlError as again:
                if again.code not in _PASSING:
                    raise
                continue
            self.talk("connected again")
            return
