"""Whether this database may deliver."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Arming:
    """Whether this database may deliver, and what ``arm`` did."""

    armed: bool
    changed: bool
    database: str
    system_identifier: str
    timeline: int
    survive_failover: bool
    armed_at: datetime
    armed_by: str


@dataclass(frozen=True, slots=True)
class Disarming:
    """What ``disarm`` did."""

    armed: bool
    changed: bool
    database: str


@dataclass(frozen=True, slots=True)
class Armed:
    """Whether this database may deliver, and its clock."""

    armed: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class ArmingState:
    """Whether this database is armed, a copy of the one that is, and that in words."""

    armed: bool
    is_copy: bool
    state: str


@dataclass(frozen=True, slots=True)
class WouldSend:
    """What a queue would send once the database is armed; ``waiting`` is None where pgmq's table is gone."""

    queue_name: str
    url: str
    waiting: int | None
    paused: bool


@dataclass(frozen=True, slots=True)
class ArmingPreview:
    """What arming would do."""

    armed: bool
    is_copy: bool
    state: str
    queues: list[WouldSend]
