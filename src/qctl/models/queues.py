"""Queues: their settings, how each stands, and what became of one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue and its delivery settings; durations by unit suffix, ``headers`` without secrets."""

    queue_id: int
    queue_uuid: UUID
    queue_name: str
    transport: str
    url: str
    headers: dict[str, str]
    timeout_ms: int
    concurrency: int
    max_in_flight: int
    retry_schedule_s: list[int]
    retry_jitter: float
    retry_after_max_s: int
    reject_after: int
    max_lost: int
    batch: int
    dedicated: bool
    trust_location: bool
    retention_s: int | None
    created_at: datetime
    created_by: str
    concurrency_auto: bool
    rate_per_s: float | None
    breaker_after: int
    breaker_share: float
    breaker_pause_max_s: int
    expect_text: str | None
    expect_json: Any
    ordered: bool
    order_schedule_s: list[int]
    on_dead: str
    net_secrets: bool
    signing_secrets: int
    allow_networks: list[str]
    linger_ms: int | None
    log: str
    archive: bool
    broker: dict[str, str]

    @property
    def is_handed_over(self) -> bool:
        """Whether its messages go to a broker and not to an HTTP endpoint."""
        return not self.url.lower().startswith(("http:", "https:"))


@dataclass(frozen=True, slots=True)
class QueueListed:
    """One line of ``queues``."""

    queue_name: str
    transport: str
    url: str
    attached: int
    paused_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PauseState:
    """What ``pause`` or ``resume`` did; ``paused_at`` is since when it is, or was, paused."""

    queue_name: str
    changed: bool
    paused_at: datetime | None


@dataclass(frozen=True, slots=True)
class Status:
    """A queue now, as view ``qctl.status`` has it; None for what this role may not see.

    ``lag_s``, ``age_s``, ``p50_s`` and ``p95_s`` (from enqueued to delivered) and ``drain_s`` are seconds, ``growth_per_s``
    is messages a second. Where ``depth_exact`` is false the numbers by state are "at least".
    """

    queue_name: str
    health: str
    depth: int | None
    ready: int | None
    delayed: int | None
    in_flight: int | None
    retrying: int | None
    dead: int | None
    lag_s: float | None
    age_s: float | None
    delivered_1m: int
    failed_1m: int
    last_error: str | None
    paused_at: datetime | None
    paused_by: str | None
    pause_reason: str | None
    url: str
    transport: str
    since: datetime | None
    reason: str | None
    fix: str | None
    depth_exact: bool | None
    depth_estimate: int | None
    dead_1m: int
    delivered_1h: int
    failed_1h: int
    dead_1h: int
    p50_s: float | None
    p95_s: float | None
    growth_per_s: float | None
    drain_s: float | None
    last_delivered_at: datetime | None
    last_failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Hour:
    """Attempts of each minute of the last hour, the oldest first."""

    queue_name: str
    delivered: list[int]
    failed: list[int]


@dataclass(frozen=True, slots=True)
class Answers:
    """What some of the last attempts of a queue came to: those of one status, delivered or not.

    ``p50_s``, ``p95_s`` and ``max_s`` are seconds that the request took. ``counts`` has the attempts up to each of
    ``bounds_s``, inclusive, and in one more element those that took longer. ``status_code`` is None where nothing answered.
    """

    queue_name: str
    delivered: bool
    status_code: int | None
    attempts: int
    p50_s: float | None
    p95_s: float | None
    max_s: float | None
    error: str | None
    bounds_s: list[float]
    counts: list[int]
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """Unfinished messages of a queue by state; ``dead`` is not part of ``depth``.

    Above 100,000 ``exact`` is false: the numbers are "at least", ``estimate`` is PostgreSQL's own of the depth.
    """

    queue_name: str
    depth: int
    ready: int
    delayed: int
    in_flight: int
    retrying: int
    dead: int
    exact: bool
    estimate: int


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds the oldest ready message has waited, and the age in seconds of the oldest unfinished one."""

    queue_name: str
    lag_s: float | None
    age_s: float | None


@dataclass(frozen=True, slots=True)
class CreatedQueue:
    """What ``create`` did; ``reason`` says why this transport."""

    queue_name: str
    created: bool
    waiting: int
    skipped: int
    transport: str
    reason: str
    switched_off: list[str]


@dataclass(frozen=True, slots=True)
class OrderIndex:
    """The index by order key of a queue: ``valid``, ``invalid`` or ``missing``; ``small``: it can be made under a lock."""

    state: str
    small: bool


@dataclass(frozen=True, slots=True)
class TransportChoice:
    """What a wanted transport comes to in this database, and why."""

    transport: str
    reason: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What would be given up with a queue; None where pgmq's table is gone."""

    queue_name: str
    unfinished: int | None
    dead: int
    archived: int | None
    attached: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What was moved to the archive before a drop."""

    discarded: int
    dead: int


@dataclass(frozen=True, slots=True)
class DroppedQueue:
    """What ``drop`` did; ``archive`` is the table that stays."""

    queue_name: str
    discarded: int
    dead: int
    archived: int | None
    archive: str | None
