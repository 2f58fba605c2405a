"""The worker: claims what it can start, hands it to the sender, settles the answers in batches, sleeps when idle."""

import gc
import math
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

import psycopg

from qctl import db
from qctl.errors import ExitCode, NotFoundError, QctlError, UsageError
from qctl.models import WorkQueue
from qctl.ssrf import networks
from qctl.worker.concurrency import ConcurrencyLimit
from qctl.worker.queue_state import AWAKE_S, LONGEST_POLL_S, SHORTEST_POLL_S, QueueState
from qctl.worker.request import JUDGED_BYTES, KEPT_BYTES, Answer, Egress, Request
from qctl.worker.sender import Sender, clock
from qctl.worker.session import WorkerSession
from qctl.worker.totals import Totals

MAX_BYTES = 32 << 20
SETTLE_BATCH = 500
SETTLE_AT = 500
SETTLE_WITHIN_S = 0.01
HEARTBEAT_S = 5.0
ALIVE_S = 12.0
BUSY_S = 1.0
BROKEN_S = 30.0
REPORT_S = 60.0
MAINTENANCE_S = 60.0
ROUND_WITHIN_S = 60.0
FINISH_S = 2.0

_PASSING = (ExitCode.CANNOT_CONNECT, ExitCode.BUSY)


class Mode(Enum):
    """How long a worker works: for ever, one round of claims, or until nothing is ready."""

    FOREVER = "forever"
    ONCE = "once"
    DRAIN = "drain"


def wake_pipe() -> tuple[int, int]:
    """A pipe that ends a wait, read end first. Given to ``signal.set_wakeup_fd`` also when a thread other than the main one
    took the signal: its handler runs only when the main one goes on."""
    out, into = os.pipe()
    os.set_blocking(out, False)
    os.set_blocking(into, False)
    return out, into


def _octets(body: str) -> int:
    return len(body) if body.isascii() else len(body.encode())


def _silent(_line: str) -> None:
    pass


def _ignore(_totals: Totals) -> None:
    pass


@dataclass
class Worker:
    """One worker process.

    Args:
        connect: opens a connection within so many seconds; called again after the connection was lost.
        queues: names, or None for every queue of the http transport, new ones included.
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
        self._listens = False
        self._is_ready = False
        self._beat_at = time.monotonic()
        self._told_stop = False
        self._told_most = 0
        self._armed = True
        self._next_maintenance = 0.0
        self._queues: dict[str, QueueState] = {}
        self._notified: set[int] = set()
        self._free_bytes = self.max_bytes
        self._next_heartbeat = 0.0
        self._next_look = 0.0
        self._next_report = time.monotonic() + REPORT_S
        self._reported = ""
        self._settle_by: float | None = None
        self._pause_s = 0.1
        self._wake_out, self.wake_fd = wake_pipe()
        self._sender = Sender(self._wake, self.egress)
        self._session = WorkerSession(self.connect, self._ends_at)

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
        if cut := sum(queue.outstanding for queue in self._queues.values()):
            self.talk(f"{cut} requests had no answer in time; their messages are sent again")
        if left := sum(len(queue.unsettled) for queue in self._queues.values()):
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
        self._take_answers()
        for queue in self._queues.values():
            queue.held.clear()
        for step in (lambda: self._settle(everything=True), self._release_unsent, self._session.unregister):
            with suppress(QctlError, psycopg.Error):
                step()

    def _begin(self) -> None:
        """What a new connection needs: the worker's registration, the queues, notifications."""
        self._read_queues()
        self._heartbeat()
        for queue in self._queues.values():
            queue.asleep = False
            queue.saw_work()
        self._listens = not self._session.is_pooled() if self.listen is None else self.listen
        if self.listen is None and not self._listens:
            self.talk("behind a pooler: polls once a second; behind a session pooler --listen wakes it at once")
        if self._listens:
            self._session.listen(self._on_notify)

    def _on_notify(self, payload: str) -> None:
        if payload.isdecimal():
            self._notified.add(int(payload))

    def _read_queues(self) -> None:
        rows = self._session.queues(self.queues)
        found = {row.queue_name: row for row in rows if row.transport == "http"}
        moved = {row.queue_name: row.transport for row in rows if row.transport != "http"}
        self._look_at_arming(armed=all(row.armed for row in rows))
        if self._session.worker_id is None:
            for name in set(self.queues or []) - set(found):
                self._session.require_queue(name)
                raise UsageError(
                    f"queue {name} has transport {moved.get(name)}, so jobs in the database deliver it, not a worker process",
                    hint=f"qctl set -q {name} --transport http",
                )
        for name, queue in list(self._queues.items()):
            if name in moved and queue.busy:
                queue.leaving = True
            elif name not in found or found[name].queue_id != queue.queue_id:
                self._forget(queue, f"has moved to {moved[name]}" if name in moved else "was dropped")
        for name, row in found.items():
            queue = self._queues.setdefault(name, QueueState(name, row.queue_id, row.concurrency, row.max_in_flight))
            queue.leaving = False
            queue.max_in_flight = row.max_in_flight
            queue.kept_bytes = JUDGED_BYTES if row.expects else KEPT_BYTES
            queue.allowed = None if self.allow_private else networks(row.allow_networks)
            self._set_concurrency(queue, row)
        if (wanted := sum(queue.concurrency for queue in self._queues.values())) > self._sender.most > self._told_most:
            self._told_most = self._sender.most
            self.talk(
                f"at most {self._sender.most} of {wanted} requests at once: this process may not open more files (ulimit -n)"
            )
        if self.queues and not self._queues:
            raise NotFoundError(f"no queue is left to work on: {', '.join(self.queues)}", hint="qctl queues")

    def _set_concurrency(self, queue: QueueState, row: WorkQueue) -> None:
        """Takes over a queue's concurrency: a number, or one that its tuner finds."""
        if self.concurrency is None and row.concurrency_auto:
            queue.tuner = queue.tuner or ConcurrencyLimit(row.max_in_flight)
            queue.tuner.most = row.max_in_flight
            queue.concurrency = queue.tuner.at_once
        else:
            queue.tuner = None
            queue.concurrency = self.concurrency or row.concurrency

    def _tune(self, queue: QueueState, answer: Answer) -> None:
        if queue.tuner is not None:
            queue.tuner.note(answer.status, answer.duration_ms, answer.at_once)
            if queue.tuner.at_once != queue.concurrency:
                queue.concurrency = queue.tuner.at_once
                self._sender.set_limit(queue.name, queue.concurrency)

    def _look_at_arming(self, *, armed: bool) -> None:
        """Says once that this database is a copy; what would wait for ever ends instead."""
        if not armed and self.mode is not Mode.FOREVER:
            raise QctlError(
                "this database is not armed, so nothing is sent: it is a copy, or was disarmed",
                hint="leave a copy silent; where this is the database that is to deliver: qctl arm",
                code=ExitCode.REFUSED,
            )
        if armed is not self._armed:
            self._armed = armed
            silent = "this database is not armed, so nothing is sent; if it is the one that is to deliver: qctl arm"
            self.talk("armed again" if armed else silent)

    def _forget(self, queue: QueueState, why: str) -> None:
        """Goes on without a queue that was dropped or delivered otherwise."""
        self.talk(f"queue {queue.name} {why}; no longer working on it")
        del self._queues[queue.name]
        if queue.asleep:
            self._session.wake_up([queue.queue_id])

    def _guarded(self, queue: QueueState, name: str, step: Callable[[QueueState], None]) -> None:
        """Does one step for a queue. Its trouble holds up only itself: a while for a lock, longer for anything else."""
        if queue.is_held(name):
            return
        try:
            step(queue)
        except QctlError as error:
            if error.code in (ExitCode.CANNOT_CONNECT, ExitCode.SCHEMA_VERSION) or self._session.closed:
                raise
            pause_s = BUSY_S if error.code is ExitCode.BUSY else BROKEN_S
            queue.held[name] = time.monotonic() + pause_s
            self.talk(f"queue {queue.name}: {name} waits {pause_s:.0f} s: {error.message}")
            if self.mode is not Mode.FOREVER and error.code is not ExitCode.BUSY:
                raise

    def _is_over(self) -> bool:
        busy = any(queue.busy for queue in self._queues.values())
        if self._stop_at is not None:
            return not busy or time.monotonic() > self._stop_at
        if self.mode is Mode.FOREVER or busy:
            return False
        if self.mode is Mode.ONCE:
            return all(queue.claimed_once for queue in self._queues.values())
        return all(queue.drained for queue in self._queues.values())

    def _step(self) -> None:
        if self._sender.failure is not None:
            raise QctlError(
                f"the sender failed: {self._sender.failure!r}",
                hint="start the worker again; messages that were in flight are sent again",
                code=ExitCode.BUG,
            )
        now = time.monotonic()
        if now >= self._next_heartbeat:
            self._read_queues()
            self._heartbeat()
        self._take_answers()
        self._settle()
        self._release_unsent()
        if self._stop_at is not None:
            if not self._told_stop:
                self._told_stop = True
                self.talk("stopping: messages in flight are settled first")
                for queue in self._queues.values():
                    queue.held.clear()
            self._sender.hand_back()
        else:
            self._look_at_sleeping(now)
            for queue in list(self._queues.values()):
                self._guarded(queue, "claim", self._claim)
        self._report(now)
        if not self._is_over():
            self._wait()

    def _take_answers(self) -> None:
        for answer in self._sender.collect():
            self._free_bytes += answer.request.size
            queue = self._queues.get(answer.request.queue)
            if queue is None or queue.queue_id != answer.request.queue_id:
                continue
            queue.outstanding -= 1
            queue.held_bytes -= answer.request.size
            if answer.sent:
                queue.count_answer()
                self._tune(queue, answer)
                if self.on_answer is not None:
                    self.on_answer(answer)
                queue.unsettled.append(answer)
                self._settle_by = self._settle_by or time.monotonic() + SETTLE_WITHIN_S
                continue
            queue.unsent.append(answer)

    def _settle(self, *, everything: bool = False) -> None:
        """Settles what has come: many at a time while more is coming, and at once when nothing is."""
        count = sum(len(queue.unsettled) for queue in self._queues.values())
        more_comes = not everything and any(queue.outstanding for queue in self._queues.values())
        if more_comes and count < SETTLE_AT and time.monotonic() < (self._settle_by or 0.0):
            return
        self._settle_by = None
        for queue in list(self._queues.values()):
            if queue.unsettled:
                self._guarded(queue, "settle", self._settle_queue)

    def _settle_queue(self, queue: QueueState) -> None:
        while queue.unsettled:
            batch = queue.unsettled[:SETTLE_BATCH]
            settled = self._session.settle(queue.name, batch)
            del queue.unsettled[: len(batch)]
            queue.saw_work()
            self.totals.add(settled)
            self.on_totals(self.totals)

    def _release_unsent(self) -> None:
        for queue in list(self._queues.values()):
            if queue.unsent:
                self._guarded(queue, "release", self._release_queue)

    def _release_queue(self, queue: QueueState) -> None:
        self._session.release(queue.name, queue.unsent)
        self.totals.unsent += len(queue.unsent)
        queue.unsent.clear()
        queue.saw_work()

    def _heartbeat(self) -> None:
        before = clock()
        names = sorted(self._queues)
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

    def _look_at_sleeping(self, now: float) -> None:
        """Wakes queues that a writer notified of or, looked at once a second, that hold a message now due."""
        sleeping = {queue.name: queue for queue in self._queues.values() if queue.asleep}
        woken = {name for name, queue in sleeping.items() if queue.queue_id in self._notified}
        self._notified.clear()
        if sleeping and now >= self._next_look:
            self._next_look = now + LONGEST_POLL_S
            woken.update(self._session.ready_queues(sorted(sleeping)))
        if woken:
            ids = [sleeping[name].queue_id for name in woken]
            self._session.wake_up(ids)
            for name in woken:
                sleeping[name].asleep = False
                sleeping[name].saw_work()

    def _claim(self, queue: QueueState) -> None:
        once = self.mode is Mode.ONCE
        room = queue.concurrency if once else queue.capacity - queue.outstanding
        if (
            queue.leaving
            or queue.asleep
            # What cannot be settled would lapse and be sent again.
            or queue.is_held("settle")
            or time.monotonic() < queue.poll_at
            or room < 1
            or (once and queue.claimed_once)
        ):
            return
        if not queue.has_room(self._free_bytes):
            return
        before = clock()
        messages = self._session.claim(queue.name, room, queue.room_bytes(self._free_bytes))
        queue.claimed_once = True
        if messages:
            queue.outstanding += len(messages)
            self.totals.claimed += len(messages)
            kept, allowed = queue.kept_bytes, queue.allowed
            requests = [
                Request(
                    queue.name, queue.queue_id, m, before, before + m.lease_ms / 1000, _octets(m.body), kept, allowed
                )
                for m in messages
            ]
            size = sum(request.size for request in requests)
            queue.held_bytes += size
            self._free_bytes -= size
            self._sender.submit(queue.name, requests, queue.concurrency)
            queue.saw_work()
            queue.poll_at = 0.0 if len(messages) == room else time.monotonic() + SHORTEST_POLL_S
            return
        queue.saw_nothing()
        quiet_s = time.monotonic() - (queue.quiet_since or 0.0)
        if self.mode is Mode.DRAIN:
            queue.drained = not self._has_ready(queue)
        elif self.mode is Mode.FOREVER and self._listens and quiet_s >= AWAKE_S:
            self._fall_asleep(queue)

    def _has_ready(self, queue: QueueState) -> bool:
        """Whether a message is ready all the same: other workers may have filled the gate."""
        return bool(self._session.ready_queues([queue.name]))

    def _fall_asleep(self, queue: QueueState) -> None:
        """Sleeps on a queue unless a writer is under way, and looks once more for what came before the lock."""
        if not self._session.fall_asleep(queue.name):
            return
        if self._has_ready(queue):
            self._session.wake_up([queue.queue_id])
        else:
            queue.asleep = True

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
        if self._settle_by is not None:
            moments.append(self._settle_by)
        if self._notified:
            moments.append(now)
        if self._stop_at is not None:
            moments.append(self._stop_at)
        else:
            for queue in self._queues.values():
                moments += [until for until in queue.held.values() if until > now]
                if queue.is_held("claim") or queue.is_held("settle"):
                    continue
                if queue.asleep:
                    moments.append(self._next_look)
                elif queue.has_room(self._free_bytes) and not (self.mode is Mode.ONCE and queue.claimed_once):
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
                self._take_answers()
            try:
                self._session.open()
                self._begin()
            except QctlError as again:
                if again.code not in _PASSING:
                    raise
                continue
            self.talk("connected again")
            return
