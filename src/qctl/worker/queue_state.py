"""A queue as one worker process sees it: what it holds of it, and when it looks again."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from qctl.ssrf import Network
from qctl.worker.concurrency import ConcurrencyLimit
from qctl.worker.request import KEPT_BYTES, Answer

AHEAD_S = 0.25
SHORTEST_POLL_S = 0.01
AWAKE_POLL_S = 0.02
AWAKE_S = 0.1
LONGEST_POLL_S = 1.0
# A claim or a settle of eight messages costs the database hardly more than one of a single message.
LINGER_MESSAGES = 8
LINGER_FROM_PER_S = 10.0
LONGEST_LINGER_S = 0.09
# A broker is there to wait, so its calls carry more: a hand-over is to spare the database.
BROKER_LINGER_MESSAGES = 500
BROKER_LINGER_S = 0.25
# A rate is measured each half second while something comes; after so long without, it is what has come since.
STALE_S = 1.5


@dataclass(slots=True)
class QueueState:
    """A queue as this process sees it."""

    name: str
    queue_id: int
    concurrency: int
    max_in_flight: int
    outstanding: int = 0
    unsettled: list[Answer] = field(default_factory=list[Answer])
    unsent: list[Answer] = field(default_factory=list[Answer])
    asleep: bool = False
    # Its writers notify, whether it is asleep or being looked at.
    watched: bool = False
    # So long a claim that was not full is taken for the end of what was ready.
    empty_until: float = 0.0
    woken: int = 0
    woken_since: float = 0.0
    wakes_per_s: float = 0.0
    drained: bool = False
    claimed_once: bool = False
    leaving: bool = False
    poll_at: float = 0.0
    poll_s: float = SHORTEST_POLL_S
    quiet_since: float | None = None
    held: dict[str, float] = field(default_factory=dict[str, float])
    rate: float = 0.0
    counted: int = 0
    counted_since: float = 0.0
    held_bytes: int = 0
    kept_bytes: int = KEPT_BYTES
    allowed: tuple[Network, ...] | None = ()
    tuner: ConcurrencyLimit | None = None
    url: str = ""
    fixed_linger_s: float | None = None
    handed_over: bool = False

    @property
    def linger_s(self) -> float:
        """How long a message may wait so that a claim or a settle carries more of them.

        Not while this worker alone fills the gate, for then it waits for nothing but its own settle.
        """
        if self.outstanding + len(self.unsettled) >= self.max_in_flight:
            return 0.0
        if self.fixed_linger_s is not None:
            return self.fixed_linger_s
        if self.rate < LINGER_FROM_PER_S:
            return 0.0
        if self.handed_over:
            return min(BROKER_LINGER_S, BROKER_LINGER_MESSAGES / self.rate)
        return min(LONGEST_LINGER_S, LINGER_MESSAGES / self.rate)

    @property
    def is_slow(self) -> bool:
        """Whether a notification for each message costs less than looking for them; not where settles make messages ready."""
        # Twice as much where writers notify already, or a queue near the border would go to and fro.
        most = LINGER_FROM_PER_S * (2 if self.watched else 1)
        return self.fixed_linger_s != 0.0 and max(self.rate, self.wakes_per_s) < most

    def recent_rate(self, now: float) -> float:
        """Messages per second of late, as answers or notifications tell."""

        def of(rate: float, count: int, since: float) -> float:
            return rate if now - since < STALE_S else count / (now - since)

        return max(of(self.rate, self.counted, self.counted_since), of(self.wakes_per_s, self.woken, self.woken_since))

    def count_wake(self) -> None:
        """Measures notifications per second, anew each half second."""
        now = time.monotonic()
        self.woken += 1
        if now - self.woken_since >= 0.5:
            self.wakes_per_s = self.woken / (now - self.woken_since)
            self.woken, self.woken_since = 0, now

    @property
    def capacity(self) -> int:
        """Messages to hold: what can be under way at once, and what will start within a quarter of a second.

        That is bounded, for a fast endpoint may turn slow: what cannot start within its lease then is handed back.
        """
        ahead = min(int(self.rate * AHEAD_S), max(4 * self.concurrency, self.max_in_flight // 4))
        return min(self.concurrency + ahead, self.max_in_flight)

    def room_bytes(self, free_bytes: int) -> int:
        """What it may take of the bytes that all queues leave free: it holds at most as much as stays free.

        So one alone takes half, and a slow one cannot take everything from the others.
        """
        return max(0, free_bytes - self.held_bytes)

    def has_room(self, free_bytes: int) -> bool:
        """Whether a claim is worth its cost: many small ones cost more than few large ones; a quarter free is soon enough."""
        if not self.outstanding:
            return True
        room_bytes = self.room_bytes(free_bytes)
        return (
            self.capacity - self.outstanding >= max(1, self.capacity // 4)
            and 4 * room_bytes >= self.held_bytes + room_bytes
        )

    def is_held(self, step: str) -> bool:
        """Whether that step waits because it failed."""
        return time.monotonic() < self.held.get(step, 0.0)

    @property
    def busy(self) -> bool:
        """Whether requests are under way or answers wait to be settled."""
        return bool(self.outstanding or self.unsettled or self.unsent)

    def count_answer(self) -> None:
        """Measures answers per second, anew each half second."""
        now = time.monotonic()
        self.counted += 1
        if now - self.counted_since >= 0.5:
            self.rate = self.counted / (now - self.counted_since)
            self.counted, self.counted_since = 0, now

    def saw_work(self) -> None:
        """Looks again at once."""
        self.poll_at, self.poll_s, self.quiet_since, self.drained = 0.0, SHORTEST_POLL_S, None, False

    def saw_answers(self, linger_s: float) -> None:
        """Stays awake, and looks again at once unless it lingers."""
        if linger_s:
            self.quiet_since, self.drained = None, False
        else:
            self.saw_work()

    def saw_nothing(self) -> None:
        """Looks again later, and later each time; but not much later as long as it is awake, for nothing wakes it then."""
        now = time.monotonic()
        self.quiet_since = self.quiet_since or now
        self.poll_at = now + self.poll_s
        self.poll_s = min(self.poll_s * 1.5, AWAKE_POLL_S if now - self.quiet_since < AWAKE_S else LONGEST_POLL_S)


def shared_linger_s(queues: Iterable[QueueState]) -> float:
    """How long a message of one of these queues may wait so that a call for several of them carries more of their messages.

    Counts those whose own rate is too low to linger for.
    """
    now = time.monotonic()
    rate = sum(queue.recent_rate(now) for queue in queues if queue.fixed_linger_s is None and not queue.handed_over)
    return 0.0 if rate < LINGER_FROM_PER_S else min(LONGEST_LINGER_S, LINGER_MESSAGES / rate)


def at_once(moment: float, linger_s: float) -> float:
    """The end of a wait, moved forward so that queues which linger as long as each other are claimed from at once."""
    return moment - moment % LONGEST_LINGER_S if linger_s == LONGEST_LINGER_S else moment
