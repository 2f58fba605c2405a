"""The Edge Function that the database wakes."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class EdgeSet:
    """The Edge Function after it was set; ``secret`` signs its wakes and is there only when it was made."""

    url: str
    function_name: str
    most: int
    schedule: str | None
    secret: str | None
    mark: str


@dataclass(frozen=True, slots=True)
class EdgeStopped:
    """The Edge Function that is no longer woken, and how many of its workers still run."""

    url: str
    running: int


@dataclass(frozen=True, slots=True)
class EdgeScaled:
    """How many edge workers may run at once."""

    url: str
    most: int


@dataclass(frozen=True, slots=True)
class EdgeStatus:
    """What the Edge Function does. ``ended``: how many of its workers ended for which reason, within 30 days."""

    url: str
    state: str
    reason: str | None
    fix: str | None
    schedule: str | None
    most: int
    running: int
    in_flight: int
    last_wake_at: datetime | None
    last_answer: str | None
    next_wake_at: datetime | None
    wakes_today: int
    wakes_30_days: int
    delivered_30_days: int
    without_work_30_days: int
    cpu_ms_per_message: float | None
    ended: dict[str, int]
    function_version: str | None
    pooler: str | None
    pooled: bool | None
    secret_mark: str | None
    set_at: datetime
