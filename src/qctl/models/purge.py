"""What a purge deletes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class PurgedBatch:
    """One batch of ``purge``; ``next_after`` is None when nothing older is left."""

    messages: int
    attempts: int
    next_after: datetime | None
    next_after_id: int | None


@dataclass(frozen=True, slots=True)
class Purged:
    """What ``purge`` deleted, or would delete, of a queue; ``kind`` is ``delivered`` or ``dead``."""

    queue_name: str
    kind: str
    messages: int
    attempts: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Exported:
    """A message before it is purged; its instants as PostgreSQL writes them, for they may be infinite."""

    msg_id: int
    enqueued_at: str
    finished_at: str
    headers: Any
    message: str | None


@dataclass(frozen=True, slots=True)
class PurgedSome:
    """What one batch deleted."""

    messages: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Old rows of ours that are no messages."""

    kind: str
    deleted: int


@dataclass(frozen=True, slots=True)
class ArchiveSize:
    """What delivered history takes on disk, its growth in the last day, how long it is kept; None where unknown."""

    bytes: int | None
    bytes_per_day: int | None
    retention_s: int | None


@dataclass(frozen=True, slots=True)
class Purgeable:
    """What ``purge`` would delete."""

    messages: int
    attempts: int
    bytes: int
