"""Archives in partitions by date: making them, moving in what was archived before, dropping the old ones."""

from collections.abc import Callable

from qctl import db
from qctl.models import DroppedPartitions, Partitioned


def partition(connection: db.Connection, name: str, interval: str) -> Partitioned:
    """Puts a queue's archive into partitions, if it is not yet, and says what is still to be moved into them.

    Raises:
        QctlError: no such interval (2), no pg_partman or too old a pgmq (4), a lock was not to be had (10).
    """
    function, arguments = partitioning(name, interval)
    return db.call(connection, Partitioned, function, **arguments)[0]


def partitioning(name: str, interval: str) -> tuple[str, dict[str, object]]:
    """The SQL function and arguments of :func:`partition`."""
    return "partition_archive", {"queue": name, "interval": interval}


def move(connection: db.Connection, name: str, tell: Callable[[int], None]) -> int:
    """Moves what was archived before into the partitions, a stretch at a time; what is moved stays so when it is interrupted."""
    moved = 0
    while count := db.call_value(connection, "move_archived", queue=name)[0]:
        moved += count
        tell(moved)
    return moved


def drop_old(connection: db.Connection, name: str, older_than_s: float) -> DroppedPartitions | None:
    """Drops the partitions that are wholly older than that; None where the archive has none."""
    rows = db.call(connection, DroppedPartitions, "purge_partitions", queue=name, older_than=f"{older_than_s} s")
    return rows[0] if rows else None


def forget_attempts(connection: db.Connection, name: str, dropped: DroppedPartitions) -> int:
    """Deletes the attempts of messages that went with their partitions, batch by batch; returns how many."""
    attempts = 0
    while count := db.call_value(connection, "purge_attempts", queue=name, before=dropped.until)[0]:
        attempts += count
    return attempts
