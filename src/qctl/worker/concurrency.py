"""How many requests at once an endpoint takes without slowing down.

The gradient controller of Envoy's adaptive concurrency filter: now and then the endpoint's latency is measured while one
request at a time is under way (its floor), and the limit follows ``limit * floor * tolerance / latency + headroom``, where
latency is that of the last window. Unlike there the floor is measured at one request, not at three, and the headroom is a half
instead of the square root of the limit: n8n works on one request after the other, and two at once already keep it busy.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

TOLERANCE = 1.3
HEADROOM = 0.5
LEAST_GRADIENT = 0.5
BACKOFF = 0.7
WINDOW = 20
FLOOR_SAMPLES = 25
FLOOR_LEAST = 5
FLOOR_WITHIN_S = 1.2
FLOOR_EVERY_S = 60.0
FLOOR_SHARE = 0.02
OVERLOADED = (429, 503)


@dataclass(slots=True)
class ConcurrencyLimit:
    """The limit of one queue.

    Args:
        most: never above this.
        clock: seconds, for tests.
    """

    most: int
    clock: Callable[[], float] = time.monotonic
    limit: float = 1.0
    floor_ms: float | None = None
    _measuring: bool = True
    _began: float = 0.0
    _next_floor: float = 0.0
    _failed: bool = False
    _samples: list[float] = field(default_factory=list[float])

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def at_once(self) -> int:
        """Requests that may be under way now."""
        return 1 if self._measuring else max(1, min(self.most, round(self.limit)))

    def note(self, status: int | None, duration_ms: float | None, at_once: int) -> None:
        """Takes an answer into account.

        Args:
            status: None for a timeout or a broken connection.
            duration_ms: from begin to end of the request.
            at_once: requests that were under way when it began, itself included.
        """
        if status is None or status in OVERLOADED or duration_ms is None:
            if not self._failed and not self._measuring:
                self.limit = max(1.0, self.limit * BACKOFF)
                self._failed = True
            return
        if self._measuring:
            if at_once == 1:
                self._samples.append(duration_ms)
                self._end_measuring()
            return
        # While there was little to send, latency says nothing about more.
        if at_once * 2 < self.at_once:
            return
        self._samples.append(duration_ms)
        if len(self._samples) >= max(WINDOW, self.at_once):
            self._follow(statistics.median(self._samples))

    def _end_measuring(self) -> None:
        now = self.clock()
        enough = len(self._samples) >= FLOOR_SAMPLES
        if not enough and (len(self._samples) < FLOOR_LEAST or now - self._began < FLOOR_WITHIN_S):
            return
        # A few samples scatter, so what was known before counts as well, unless the endpoint has become another.
        found = statistics.median(self._samples)
        known = self.floor_ms
        self.floor_ms = found if known is None or not known / 2 < found < known * 2 else (found + known) / 2
        self._measuring = False
        self._next_floor = now + max(FLOOR_EVERY_S, (now - self._began) / FLOOR_SHARE)
        self._samples.clear()

    def _follow(self, latency_ms: float) -> None:
        assert self.floor_ms is not None
        self._samples.clear()
        self._failed = False
        self.floor_ms = min(self.floor_ms, latency_ms)
        gradient = max(LEAST_GRADIENT, TOLERANCE * self.floor_ms / latency_ms) if latency_ms else TOLERANCE
        self.limit = max(1.0, min(self.most, self.limit * min(gradient, TOLERANCE) + HEADROOM))
        if self.clock() >= self._next_floor:
            self._measuring, self._began = True, self.clock()
