"""Sleeping on a queue: nobody looks at it, because whoever writes to it notifies."""

import math
import time
from collections.abc import Callable, Iterable

from qctl.worker.queue_state import LONGEST_POLL_S, QueueState, at_once, shared_linger_s
from qctl.worker.session import WorkerSession


class Sleep:
    """The sleep of one worker.

    Args:
        session: listens and takes the locks that make writers notify.
    """

    def __init__(self, session: WorkerSession) -> None:
        self._session = session
        self._notified: set[int] = set()
        self.possible = False
        self.next_look = 0.0
        # -inf: a notification has come, and how long to wait for others is still to be decided.
        self.wakes_at = math.inf

    def begin(self, listen: bool | None, talk: Callable[[str], None]) -> None:
        """What a new connection needs.

        Args:
            listen: use LISTEN and advisory locks, which no transaction pooler lets through; None for not behind a pooler.
            talk: called with each line for people.
        """
        self.possible = not self._session.is_pooled() if listen is None else listen
        if listen is None and not self.possible:
            talk("behind a pooler: polls once a second; behind a session pooler --listen wakes it at once")
        if self.possible:
            self._session.listen(self._on_notify)

    def end(self, queues: Iterable[QueueState], now: float) -> None:
        """Wakes queues that a writer notified of or, looked at once a second, that hold a message now due.

        Writers of a slow queue go on notifying, so that it can sleep again after one claim. Where several slow queues together
        are busy, those that were notified of wait a little and then wake at once.
        """
        every = list(queues)
        sleeping = {queue.name: queue for queue in every if queue.asleep}
        told = {name for name, queue in sleeping.items() if queue.queue_id in self._notified}
        if self.wakes_at == -math.inf:
            linger_s = shared_linger_s(every)
            self.wakes_at = at_once(now + linger_s, linger_s)
        woken = {name for name in told if now >= self.wakes_at or sleeping[name].fixed_linger_s == 0.0}
        self._notified = {sleeping[name].queue_id for name in told - woken}
        if not self._notified:
            self.wakes_at = math.inf
        if sleeping and now >= self.next_look:
            self.next_look = now + LONGEST_POLL_S
            ready = set(self._session.ready_queues(sorted(sleeping)))
            woken |= ready
            for name, queue in sleeping.items():
                queue.empty_until = 0.0 if name in ready else now + LONGEST_POLL_S
        for name in woken:
            queue = sleeping[name]
            queue.asleep = False
            queue.count_wake()
            queue.saw_work()
        self._let_be([sleeping[name] for name in woken if not sleeping[name].is_slow])

    def let_be(self, queue: QueueState) -> None:
        """Lets the writers of a queue be, which is looked at instead."""
        if queue.watched:
            self._let_be([queue])

    def _let_be(self, queues: list[QueueState]) -> None:
        if queues:
            self._session.wake_up([queue.queue_id for queue in queues])
            for queue in queues:
                queue.watched = queue.asleep = False

    def start(self, queue: QueueState) -> None:
        """Sleeps on a queue unless a writer is under way or it holds more than may be claimed now.

        A look finds what came before the lock, and what a claim left because of the rate, the breaker or other workers. Where
        writers notify anyway, one a second is enough.
        """
        half_full = 2 * queue.outstanding >= queue.max_in_flight
        if queue.watched and not half_full and time.monotonic() < queue.empty_until:
            queue.asleep = True
            return
        queue.watched = queue.watched or self._session.fall_asleep(queue.name)
        if not queue.watched:
            return
        queue.asleep = not self._session.ready_queues([queue.name])
        if queue.asleep:
            queue.empty_until = time.monotonic() + LONGEST_POLL_S
        else:
            self.let_be(queue)

    def _on_notify(self, payload: str) -> None:
        if payload.isdecimal():
            self._notified.add(int(payload))
            if self.wakes_at == math.inf:
                self.wakes_at = -math.inf
