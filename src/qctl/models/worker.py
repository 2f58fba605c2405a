"""What a worker reads and writes."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Claimed(NamedTuple):
    """A message to send: everything its request needs. A tuple, and the lease as text, for thousands come each second."""

    msg_id: int
    lease: str
    lease_ms: int
    delivery_no: int
    attempt_no: int
    url: str
    timeout_ms: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Settled:
    """How many messages went which way in one settle."""

    delivered: int
    retrying: int
    dead: int
    paused: int
    late: int
    unknown: int
    failed: int


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one round of upkeep did."""

    lapsed: int
    reaped: int
    workers_gone: int


@dataclass(frozen=True, slots=True)
class Sleeper:
    """Whether a worker may sleep on a queue."""

    queue_id: int
    queue_name: str
    asleep: bool


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """What a worker must know of a queue, and whether this database may deliver at all; ``linger_ms`` None: by the rate."""

    queue_id: int
    queue_name: str
    transport: str
    concurrency: int
    concurrency_auto: bool
    max_in_flight: int
    timeout_ms: int
    expects: bool
    allow_networks: list[str]
    armed: bool
    linger_ms: int | None
    url: str
    broker: dict[str, str]


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker as it last reported, or (``kind`` schedule) a job of pg_cron with how it last ended.

    ``busy`` is the share of its time in which the database worked for it; known of jobs only.
    """

    worker_id: int | None
    name: str
    kind: str
    transport: str
    queues: list[str]
    state: str
    in_flight: int
    holds_since: datetime | None
    busy: float | None
    qctl_version: str | None
    role_name: str | None
    started_at: datetime | None
    last_seen_at: datetime | None
    stopped_at: datetime | None
    job_name: str | None
    last_run: str | None
    last_message: str | None
