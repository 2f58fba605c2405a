"""The worker: claims what it can start, hands it to the sender, settles the answers in batches, sleeps when idle."""

import os
import select
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from qctl import __version__, db, sqlfiles
from qctl.errors import CannotConnectError, ExitCode, QctlError, UsageError
from qctl.models import Claimed, Settled, Sleeper, Upkeep, WorkQueue
from qctl.worker.sender import Answer, Request, Sender, clock

SETTLE_BATCH = 500
SETTLE_AT = 250
SETTLE_WITHIN_S = 0.005
AHEAD_S = 0.25
HEARTBEAT_S = 5.0
ALIVE_S = 12.0
SHORTEST_POLL_S = 0.01
LONGEST_POLL_S = 1.0
AWAKE_S = 0.1


class Mode(Enum):
    """How long a worker works: for ever, one round of claims, or until nothing is ready."""

    FOREVER = "forever"
    ONCE = "once"
    DRAIN = "drain"


@dataclass(slots=True)
class Progress:
    """Totals since the start, as the database reported them."""

    claimed: int = 0
    delivered: int = 0
    retrying: int = 0
    dead: int = 0
    paused: int = 0
    late: int = 0
    failed: int = 0
    unsent: int = 0

    def add(self, settled: Settled) -> None:
        """Adds what one settle did."""
        self.delivered += settled.delivered
        self.retrying += settled.retrying
        self.dead += settled.dead
        self.paused += settled.paused
        self.late += settled.late
        self.failed += settled.failed


@dataclass(slots=True)
class _Queue:
    """A queue as this process sees it."""

    name: str
    queue_id: int
    concurrency: int
    outstanding: int = 0
    asleep: bool = False
    poll_at: float = 0.0
    poll_s: float = SHORTEST_POLL_S
    quiet_since: float | None = None
    rounds: int = 0
    rate: float = 0.0
    counted: int = 0
    counted_since: float = 0.0

    @property
    def capacity(self) -> int:
        """Messages to hold: what can be under way at once, and what will start within a quarter of a second."""
        return self.concurrency + min(int(self.rate * AHEAD_S), 4 * self.concurrency)

    def count(self, answers: int) -> None:
        """Measures answers per second, anew each half second."""
        now = time.monotonic()
        self.counted += answers
        if now - self.counted_since >= 0.5:
            self.rate = self.counted / (now - self.counted_since)
            self.counted, self.counted_since = 0, now

    def saw_work(self) -> None:
        self.poll_at, self.poll_s, self.quiet_since = 0.0, SHORTEST_POLL_S, None

    def saw_nothing(self) -> None:
        now = time.monotonic()
        self.quiet_since = self.quiet_since or now
        self.poll_at = now + self.poll_s
        self.poll_s = min(self.poll_s * 1.5, LONGEST_POLL_S)


@dataclass
class Worker:
    """One worker process.

    Args:
        connect: opens a connection; called again after the connection was lost.
        queues: names, or None for every queue of the http transport, new ones included.
        mode: when to end by itself.
        concurrency: simultaneous requests per queue; None for each queue's own setting.
        grace_s: how long a stop waits for requests under way; what is not answered by then lapses and is tried again.
        listen: use LISTEN and advisory locks to wake at once; off behind a transaction pooler.
        talk: called with each line for people.
        on_progress: called after each change of the totals.
    """

    connect: Callable[[], db.Connection]
    queues: list[str] | None = None
    mode: Mode = Mode.FOREVER
    concurrency: int | None = None
    grace_s: float = 30.0
    listen: bool = True
    talk: Callable[[str], None] = lambda _line: None
    on_progress: Callable[[Progress], None] = lambda _progress: None
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self._stop_at: float | None = None
        self._queues: dict[str, _Queue] = {}
        self._broken: set[int] = set()
        self._unsettled: dict[str, list[Answer]] = defaultdict(list)
        self._unsent: dict[str, list[Answer]] = defaultdict(list)
        self._notified: set[int] = set()
        self._worker_id: int | None = None
        self._next_heartbeat = 0.0
        self._next_look = 0.0
        self._settle_by: float | None = None
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._sender = Sender(self._wake)

    def stop(self) -> None:
        """Asks the worker to end: nothing more is claimed, what is in flight is settled. Safe in a signal handler."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self.grace_s
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_in, b"x")

    def run(self) -> Progress:
        """Works until stopped, or as the mode says.

        Raises:
            QctlError: the first connection fails (3), a queue is unknown (6), the schema is not there (5).
        """
        self._connection = self.connect()
        try:
            self._begin()
            self._sender.start()
            while not self._is_over():
                try:
                    self._step()
                except QctlError as error:
                    if error.code not in (ExitCode.CANNOT_CONNECT, ExitCode.BUSY):
                        raise
                    self._recover(error)
            with suppress(QctlError):
                self._release_unsent()
                db.call_value(self._connection, "sign_off", worker_id=self._worker_id)
        finally:
            self._sender.close()
            self._connection.close()
        return self.progress

    def _begin(self) -> None:
        """What a new connection needs: the worker's registration, the queues, notifications."""
        self._read_queues()
        self._heartbeat()
        for queue in self._queues.values():
            queue.asleep = False
            queue.saw_work()
        if self.listen:
            self._connection.add_notify_handler(lambda notice: self._on_notify(notice.payload))
            with db.translating():
                self._connection.execute("listen qctl")

    def _on_notify(self, payload: str) -> None:
        if payload.isdecimal():
            self._notified.add(int(payload))

    def _read_queues(self) -> None:
        rows = db.fetch(self._connection, WorkQueue, sqlfiles.query("work_queues"), {"queues": self.queues})
        found = {row.queue_name: row for row in rows if row.queue_id not in self._broken}
        for name in set(self.queues or []) - {row.queue_name for row in rows}:
            db.call_value(self._connection, "_queue", queue=name)
            raise UsageError(f"queue {name} is not delivered by a worker process", hint=f"qctl describe {name}")
        for name in set(self._queues) - set(found):
            self._drop(name, "it was dropped")
        for name, row in found.items():
            queue = self._queues.setdefault(name, _Queue(name, row.queue_id, row.concurrency))
            queue.concurrency = self.concurrency or row.concurrency

    def _drop(self, name: str, why: str) -> None:
        """Goes on without a queue: a broken one must not stop the others."""
        self.talk(f"no longer working on queue {name}: {why}")
        self._broken.add(self._queues.pop(name).queue_id)
        self._unsettled.pop(name, None)
        self._unsent.pop(name, None)

    def _is_over(self) -> bool:
        outstanding = any(queue.outstanding for queue in self._queues.values())
        busy = outstanding or any(self._unsettled.values()) or any(self._unsent.values())
        if self._stop_at is not None:
            return not busy or time.monotonic() > self._stop_at
        if self.mode is Mode.FOREVER or busy:
            return False
        if self.mode is Mode.ONCE:
            return all(queue.rounds for queue in self._queues.values())
        return all(queue.quiet_since for queue in self._queues.values())

    def _step(self) -> None:
        self._take_answers()
        self._settle()
        self._release_unsent()
        now = time.monotonic()
        if now >= self._next_heartbeat:
            self._read_queues()
            self._heartbeat()
        if self._stop_at is not None:
            self._sender.hand_back()
        else:
            self._look_at_sleeping(now)
            for queue in list(self._queues.values()):
                self._claim(queue)
        if not self._is_over():
            self._wait()

    def _take_answers(self) -> None:
        for answer in self._sender.collect():
            name = answer.request.queue
            if queue := self._queues.get(name):
                queue.outstanding -= 1
                queue.count(1)
                (self._unsettled if answer.sent else self._unsent)[name].append(answer)
                self._settle_by = self._settle_by or time.monotonic() + SETTLE_WITHIN_S

    def _settle(self) -> None:
        """Settles what has come: many at a time while more is coming, and at once when nothing is."""
        count = sum(len(answers) for answers in self._unsettled.values())
        more_comes = any(queue.outstanding for queue in self._queues.values())
        if more_comes and count < SETTLE_AT and time.monotonic() < (self._settle_by or 0.0):
            return
        self._settle_by = None
        for name, answers in list(self._unsettled.items()):
            while answers:
                batch = answers[:SETTLE_BATCH]
                settled = db.call(
                    self._connection,
                    Settled,
                    "settle",
                    queue=name,
                    lease=[a.request.message.lease for a in batch],
                    msg_id=[a.request.message.msg_id for a in batch],
                    status=[a.status for a in batch],
                    error=[a.error for a in batch],
                    response=[a.response for a in batch],
                    duration_ms=[a.duration_ms for a in batch],
                    retry_after_s=[a.retry_after_s for a in batch],
                )[0]
                del answers[: len(batch)]
                self.progress.add(settled)
                self.on_progress(self.progress)

    def _release_unsent(self) -> None:
        for name, answers in list(self._unsent.items()):
            if not answers:
                continue
            db.call_value(
                self._connection,
                "release",
                queue=name,
                lease=[a.request.message.lease for a in answers],
                msg_id=[a.request.message.msg_id for a in answers],
            )
            self.progress.unsent += len(answers)
            answers.clear()

    def _heartbeat(self) -> None:
        before = clock()
        names = sorted(self._queues)
        known = (
            self._worker_id is not None
            and (db.call_value(self._connection, "heartbeat", worker_id=self._worker_id, queues=names)[0])
        )
        if not known:
            # Taken for gone: what was claimed under the old registration may be with another worker by now.
            self._sender.valid_since = before
            self._worker_id = db.call_value(
                self._connection,
                "register_worker",
                name=f"{socket.gethostname()}:{os.getpid()}",
                transport="http",
                queues=names,
                version=__version__,
            )[0]
        self._sender.alive_until = before + ALIVE_S
        db.call(self._connection, Upkeep, "upkeep")
        self._next_heartbeat = time.monotonic() + HEARTBEAT_S

    def _look_at_sleeping(self, now: float) -> None:
        """Wakes queues that a writer notified of or, looked at once a second, that hold a message now due."""
        sleeping = {queue.name: queue for queue in self._queues.values() if queue.asleep}
        woken = {name for name, queue in sleeping.items() if queue.queue_id in self._notified}
        self._notified.clear()
        if sleeping and now >= self._next_look:
            self._next_look = now + LONGEST_POLL_S
            woken.update(db.call_value(self._connection, "ready_queues", queues=sorted(sleeping)))
        if woken:
            ids = [sleeping[name].queue_id for name in woken if name in sleeping]
            db.call_value(self._connection, "wake_up", queue_ids=ids)
            for name in woken:
                sleeping[name].asleep = False
                sleeping[name].saw_work()

    def _claim(self, queue: _Queue) -> None:
        room = queue.capacity - queue.outstanding if self.mode is not Mode.ONCE else queue.concurrency
        if queue.asleep or time.monotonic() < queue.poll_at or room < 1:
            return
        if self.mode is Mode.ONCE and queue.rounds:
            return
        # Many small claims cost more than a few large ones; a quarter of the room free is soon enough.
        if queue.outstanding and room < queue.capacity // 4:
            return
        taken = self._claim_once(queue, room)
        if taken is None or taken == room:
            return
        if taken:
            queue.saw_work()
            queue.poll_at = time.monotonic() + SHORTEST_POLL_S
            return
        queue.saw_nothing()
        quiet_s = time.monotonic() - (queue.quiet_since or 0.0)
        if self.listen and self.mode is Mode.FOREVER and quiet_s >= AWAKE_S:
            self._fall_asleep(queue)

    def _claim_once(self, queue: _Queue, room: int) -> int | None:
        """Claims and submits; the number of messages, or None when the queue is gone."""
        before = clock()
        try:
            messages = db.call_tuples(
                self._connection, Claimed, "claim", queue=queue.name, limit=room, worker_id=self._worker_id
            )
        except QctlError as error:
            if error.code not in (ExitCode.NOT_FOUND, ExitCode.SERVER_UNFIT) or len(self._queues) == 1:
                raise
            self._drop(queue.name, error.message)
            return None
        queue.rounds += 1
        if messages:
            queue.outstanding += len(messages)
            self.progress.claimed += len(messages)
            requests = [Request(queue.name, m, before, before + m.lease_ms / 1000) for m in messages]
            self._sender.submit(queue.name, requests, queue.concurrency)
        return len(messages)

    def _fall_asleep(self, queue: _Queue) -> None:
        """Sleeps on a queue unless a writer is under way, and looks once more for what came before the lock."""
        sleeper = db.call(self._connection, Sleeper, "fall_asleep", queues=[queue.name])
        if not sleeper or not sleeper[0].asleep:
            return
        queue.asleep = True
        if self._claim_once(queue, queue.capacity - queue.outstanding):
            db.call_value(self._connection, "wake_up", queue_ids=[queue.queue_id])
            queue.asleep = False
            queue.saw_work()

    def _wait(self) -> None:
        now = time.monotonic()
        moments = [self._next_heartbeat]
        if self._settle_by is not None:
            moments.append(self._settle_by)
        if self._stop_at is not None:
            moments.append(self._stop_at)
        else:
            for queue in self._queues.values():
                if queue.asleep:
                    moments.append(self._next_look)
                elif queue.capacity - queue.outstanding >= max(1, queue.capacity // 4) and not (
                    self.mode is Mode.ONCE and queue.rounds
                ):
                    moments.append(queue.poll_at if queue.poll_at > now else now + SHORTEST_POLL_S)
        fd = self._connection.fileno()
        readable, _, _ = select.select([self._wake_out, fd], [], [], max(0.0, min(moments) - now))
        if self._wake_out in readable:
            os.read(self._wake_out, 65536)
        if fd in readable:
            with db.translating():
                self._connection.execute("select")

    def _recover(self, error: QctlError) -> None:
        """After a lost connection: tries again with growing pauses; answers are kept and settled then."""
        if error.code is ExitCode.BUSY and not self._connection.closed:
            time.sleep(0.05)
            return
        self.talk(f"{error.message}; trying again")
        pause_s = 0.1
        while True:
            with suppress(Exception):
                self._connection.close()
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                return
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)
            try:
                self._connection = self.connect()
                self._begin()
            except CannotConnectError:
                continue
            self.talk("connected again")
            return
