"""Runs of backfill."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Backfill:
    """A run that queues the rows of a table. ``state`` is stopped while nobody asks for a page of one that runs."""

    backfill_id: int
    relation: str
    queue_name: str
    state: str
    scanned: int
    queued: int
    estimated: int
    rows_per_s: float | None
    where_sql: str | None
    missed: bool
    error: str | None
    fix: str | None
    started_at: datetime
    page_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class BackfillBegun:
    """A run that was begun, or gone on with."""

    backfill_id: int
    relation: str
    queue_name: str
    resumed: bool
    estimated: int
    scanned: int
    queued: int
    rate_per_s: float | None


@dataclass(frozen=True, slots=True)
class BackfillPage:
    """What one page did: rows that were read, and messages that were queued."""

    state: str
    rows: int
    queued: int
    error: str | None


@dataclass(frozen=True, slots=True)
class BackfillSet:
    """A run that was paused or cancelled."""

    backfill_id: int
    state: str
    changed: bool


@dataclass(frozen=True, slots=True)
class BackfillPreview:
    """What a backfill would do: how many rows it reads, and how long that takes at the speed of its first page or its rate."""

    relation: str
    queue_name: str
    rows: int
    seconds: float | None
    resumed: bool
