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
