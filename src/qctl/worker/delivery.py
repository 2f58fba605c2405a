"""What a worker does with messages: claims what it can start, settles the answers in batches, gives back the rest."""

import time
from collections.abc import Callable
from functools import partial

from qctl.errors import ExitCode, QctlError
from qctl.models import Claimed, Settled
from qctl.worker.carriers.carrier import Carrier
from qctl.worker.clock import clock
from qctl.worker.mode import Mode
from qctl.worker.queue_set import QueueSet
from qctl.worker.queue_state import AWAKE_S, SHORTEST_POLL_S, QueueState, at_once, shared_linger_s
from qctl.worker.request import Answer, Request
from qctl.worker.session import WorkerSession
from qctl.worker.sleep import Sleep
from qctl.worker.totals import Totals

SETTLE_BATCH = 500
SETTLE_AT = 500
SETTLE_WITHIN_S = 0.01
# Less than the time by which a lease outlives a request that began as late as it may, whatever --linger says.
SETTLE_WAITS_S = 0.25
# Queues in one call: their statement is planned anew each time, and an error concerns all of them.
TOGETHER = 32
BUSY_S = 1.0
BROKEN_S = 30.0


def _is_first_success(answer: Answer) -> bool:
    message = answer.request.message
    return 200 <= (answer.status or 0) < 300 and message.delivery_no == message.attempt_no == 1


def _octets(body: str) -> int:
    return len(body) if body.isascii() else len(body.encode())


class Delivery:
    """Claims, answers and settles of one worker. A step that fails for a queue holds up only itself.

    Args:
        session: claims, settles and releases.
        sender: sends the requests.
        queues: what is delivered.
        sleep: of queues with nothing to do.
        mode: when the worker ends; other than for ever, its first error that is more than a lock ends it.
        free_bytes: payloads that may be held.
        totals: what was done.
        on_totals: called after each change of them.
        on_answer: called with each attempt's answer, before it is settled.
        talk: called with each line for people.
    """

    def __init__(
        self,
        session: WorkerSession,
        sender: Carrier,
        queues: QueueSet,
        sleep: Sleep,
        *,
        mode: Mode,
        free_bytes: int,
        totals: Totals,
        on_totals: Callable[[Totals], None],
        on_answer: Callable[[Answer], None] | None,
        talk: Callable[[str], None],
    ) -> None:
        self._session = session
        self._sender = sender
        self._queues = queues
        self._sleep = sleep
        self._mode = mode
        self._totals = totals
        self._on_totals = on_totals
        self._on_answer = on_answer
        self._talk = talk
        self.free_bytes = free_bytes
        self.settle_by: float | None = None
        self._apart_until = 0.0
        self._shared_s = 0.0

    def claim(self) -> None:
        """Claims for each queue what it can start: for several at once where they allow it."""
        due = [queue for queue in self._queues if not queue.is_held("claim") and self._room(queue)]
        if due:
            self._shared_s = shared_linger_s(self._queues)
        if self._mode is Mode.FOREVER:
            due = self._claim_together(due)
        for queue in due:
            self._guarded(queue, "claim", self._claim)

    def _claim_together(self, queues: list[QueueState]) -> list[QueueState]:
        """Claims for several queues at once; returns those that must be claimed from by themselves."""
        alone: list[QueueState] = []
        while len(queues) > 1 and self._are_together():
            page, queues = queues[:TOGETHER], queues[TOGETHER:]
            before = clock()
            asked = [(q.name, self._room(q), q.room_bytes(self.free_bytes) // len(page)) for q in page]
            try:
                found = self._session.claim_queues(asked)
            except QctlError as error:
                self._part(error)
                return alone + page + queues
            messages: dict[str, list[Claimed]] = {queue.name: [] for queue in page}
            for name, message in found:
                if message is None:
                    del messages[name]
                else:
                    messages[name].append(message)
            alone += [queue for queue in page if queue.name not in messages]
            for queue, (name, room, _) in zip(page, asked, strict=True):
                if name in messages:
                    took = partial(self._take, messages=messages[name], room=room, before=before)
                    self._guarded(queue, "claim", took)
        return alone + queues

    def _are_together(self) -> bool:
        return time.monotonic() >= self._apart_until

    def _part(self, error: QctlError) -> None:
        """After an error of a call for several queues: each by itself says what is wrong with it."""
        if error.code in (ExitCode.CANNOT_CONNECT, ExitCode.SCHEMA_VERSION) or self._session.closed:
            raise error
        self._apart_until = time.monotonic() + BROKEN_S

    def _claim(self, queue: QueueState) -> None:
        room = self._room(queue)
        if room == 0:
            return
        before = clock()
        messages = self._session.claim(queue.name, room, queue.room_bytes(self.free_bytes))
        self._take(queue, messages, room, before)

    def _take(self, queue: QueueState, messages: list[Claimed], room: int, before: float) -> None:
        """Goes on with what a claim after ``before``, which asked for ``room`` messages, has given."""
        queue.claimed_once = True
        if messages:
            if messages[0].url != queue.url:
                # It was changed since the last heartbeat, and with it perhaps how its messages are sent.
                self._queues.read_again()
            self._submit(queue, messages, before)
            queue.saw_work()
            linger_s = max(SHORTEST_POLL_S, self._linger_s(queue))
            queue.poll_at = 0.0 if len(messages) == room else at_once(time.monotonic() + linger_s, linger_s)
            if queue.watched and queue.is_slow and len(messages) < room:
                self._sleep.start(queue)
            else:
                self._sleep.let_be(queue)
            return
        # Somebody notifies of what cannot be claimed now, or other workers were quicker.
        self._sleep.let_be(queue)
        queue.saw_nothing()
        linger_s = self._linger_s(queue)
        queue.poll_at = max(queue.poll_at, at_once(time.monotonic() + linger_s, linger_s))
        quiet_s = time.monotonic() - (queue.quiet_since or 0.0)
        if self._mode is Mode.DRAIN:
            # A message may be ready all the same: other workers may have filled the gate.
            queue.drained = not self._session.ready_queues([queue.name])
        elif self._mode is Mode.FOREVER and self._sleep.possible and quiet_s >= AWAKE_S:
            self._sleep.start(queue)

    def _linger_s(self, queue: QueueState) -> float:
        """How long a message of a queue may wait: for others of it, or of other queues."""
        return max(queue.linger_s, self._shared_s if queue.fixed_linger_s is None else 0.0)

    def take_answers(self) -> None:
        for answer in self._sender.collect():
            self.free_bytes += answer.request.size
            queue = self._queues.find(answer.request.queue, answer.request.queue_id)
            if queue is None:
                continue
            queue.outstanding -= 1
            queue.held_bytes -= answer.request.size
            if answer.sent and not self._queues.is_outdated(queue, answer):
                queue.count_answer()
                self._queues.tune(queue, answer)
                if self._on_answer is not None:
                    self._on_answer(answer)
                queue.unsettled.append(answer)
                within = time.monotonic() + max(SETTLE_WITHIN_S, min(self._linger_s(queue), SETTLE_WAITS_S))
                self.settle_by = within if self.settle_by is None else min(self.settle_by, within)
                continue
            queue.unsent.append(answer)

    def settle(self, *, everything: bool = False) -> None:
        """Settles what has come: many at a time while more is coming, and at once when nothing is."""
        count = sum(len(queue.unsettled) for queue in self._queues)
        more_comes = not everything and any(queue.outstanding or self._linger_s(queue) for queue in self._queues)
        if more_comes and count < SETTLE_AT and time.monotonic() < (self.settle_by or 0.0):
            return
        self.settle_by = None
        self._settle_together()
        for queue in self._queues:
            if queue.unsettled:
                self._guarded(queue, "settle", self._settle_queue)

    def release_unsent(self) -> None:
        for queue in self._queues:
            if queue.unsent:
                self._guarded(queue, "release", self._release_queue)

    def _room(self, queue: QueueState) -> int:
        """How many messages to claim now; 0 for none."""
        if (
            queue.leaving
            or queue.asleep
            # What cannot be settled would lapse and be sent again.
            or queue.is_held("settle")
            or time.monotonic() < queue.poll_at
            or not queue.has_room(self.free_bytes)
        ):
            return 0
        if self._mode is Mode.ONCE:
            return 0 if queue.claimed_once else queue.concurrency
        return max(0, queue.capacity - queue.outstanding)

    def _submit(self, queue: QueueState, messages: list[Claimed], before: float) -> None:
        """Hands messages to the sender, which were claimed after ``before``."""
        kept, allowed = queue.kept_bytes, queue.allowed
        requests = [
            Request(queue.name, queue.queue_id, m, before, before + m.lease_ms / 1000, _octets(m.body), kept, allowed)
            for m in messages
        ]
        size = sum(request.size for request in requests)
        queue.outstanding += len(messages)
        queue.held_bytes += size
        self.free_bytes -= size
        self._totals.claimed += len(messages)
        self._sender.submit(queue.name, requests, queue.concurrency)

    def _settle_together(self) -> None:
        """Settles first successes of several queues at once; a full batch of one queue costs no more by itself."""
        waiting = [queue for queue in self._queues if queue.unsettled and not queue.is_held("settle")]
        answers = {queue.name: [a for a in queue.unsettled if _is_first_success(a)] for queue in waiting}
        answers = {name: found for name, found in answers.items() if found}
        if (
            not 1 < len(answers) <= TOGETHER
            or sum(map(len, answers.values())) > SETTLE_BATCH
            or not self._are_together()
        ):
            return
        try:
            settled = self._session.settle_queues([answer for found in answers.values() for answer in found])
        except QctlError as error:
            self._part(error)
            return
        for queue in waiting:
            before = len(queue.unsettled)
            queue.unsettled = [
                a for a in queue.unsettled if (a.request.message.lease, a.request.message.msg_id) not in settled
            ]
            if len(queue.unsettled) < before:
                self._saw_settled(queue, Settled(before - len(queue.unsettled), 0, 0, 0, 0, 0, 0))

    def _settle_queue(self, queue: QueueState) -> None:
        while queue.unsettled:
            batch = queue.unsettled[:SETTLE_BATCH]
            settled = self._session.settle(queue.name, batch)
            del queue.unsettled[: len(batch)]
            self._saw_settled(queue, settled)

    def _saw_settled(self, queue: QueueState, settled: Settled) -> None:
        if queue.fixed_linger_s == 0.0:
            # Of an ordered queue this has made the next messages ready, and nobody notifies.
            self._sleep.let_be(queue)
        queue.saw_answers(self._linger_s(queue))
        self._totals.add(settled)
        self._on_totals(self._totals)

    def _release_queue(self, queue: QueueState) -> None:
        self._session.release(queue.name, queue.unsent)
        self._totals.unsent += len(queue.unsent)
        queue.unsent.clear()
        self._sleep.let_be(queue)
        queue.saw_work()

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
            self._talk(f"queue {queue.name}: {name} waits {pause_s:.0f} s: {error.message}")
            if self._mode is not Mode.FOREVER and error.code is not ExitCode.BUSY:
                raise
