"""Tables in partitions by date."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Partitioned:
    """An archive, or the attempt log, in partitions; ``to_move`` is what was there before and is not yet in them."""

    table_name: str
    partitions: int
    to_move: int
    changed: bool


@dataclass(frozen=True, slots=True)
class DroppedPartitions:
    """Partitions that a purge dropped, with about how many messages; ``until`` is when the oldest that is left was archived."""

    partitions: int
    messages: int
    until: datetime
