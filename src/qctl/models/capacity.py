"""Jobs, what a queue can carry, and what more would need."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """One of our jobs in pg_cron."""

    job_id: int
    job_name: str
    schedule: str
    command: str
    active: bool
    owner: str


@dataclass(frozen=True, slots=True)
class JobChange:
    """What happened to a job: ``scheduled`` or ``unscheduled``."""

    job_name: str
    done: str


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A CALL of ``qctl.work`` that runs now: a shared worker with its slot, or a queue's own."""

    pid: int
    slot: int | None
    queue_id: int | None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a queue can carry, in messages a second, and what limits it; latency in seconds.

    ``ceiling_per_s`` is None where it cannot be known because every attempt failed. ``wakes_per_month`` is of the Edge
    Function, for all queues together; None where there is none.
    """

    queue_name: str
    transport: str
    workers: int
    dedicated: bool
    batch: int
    max_in_flight: int
    concurrency: int
    latency_s: float | None
    latency_p95_s: float | None
    measured: int
    ceiling_per_s: float | None
    limited_by: str
    hanging_per_s: float
    limits: list[dict[str, Any]]
    wakes_per_month: int | None


@dataclass(frozen=True, slots=True)
class DatabaseShare:
    """Cores that delivery takes from the database now, and would take if it were handed over; the queue with most messages."""

    per_s: float
    share: float
    handed_over: float
    queue_name: str
    transport: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load, or so many ``times`` of it, needs: processes or jobs, settings, cores, messages and bytes of 30 days."""

    per_s: float
    transport: str
    workers: int
    concurrency: int
    batch: int
    max_in_flight: int
    in_flight: float
    database_cores: float
    worker_cores: float
    messages_per_month: float
    bytes_per_month: float
    reason: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Sizing:
    """The settings that a rate needs, or why it cannot be reached."""

    reachable: bool
    batch: int
    max_in_flight: int
    concurrency: int
    reason: str
