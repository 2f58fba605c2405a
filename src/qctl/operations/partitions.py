"""Archives and the attempt log in partitions by date: making them, moving in what was there before, dropping the old ones."""

from collections.abc import Callable

from qctl import db
from qctl.models import DroppedPartitions, Partitioned


def archive(name: str, interval: str) -> db.Call[Partitioned]:
    """Puts a queue's archive into partitions, if it is not yet, and says what is still to be moved into them.

    Raises:
        QctlError: when it is run: no such interval (2), no pg_partman or a pgmq that is too old (4), no lock (10).
    """
    return db.Call("partition_archive", {"queue": name, "interval": interval}, Partitioned)


def attempts(interval: str, *, only_empty: bool = False) -> db.Call[Partitioned]:
    """The same for the attempt log, which all queues share; ``only_empty`` leaves a log that has rows as it is.

    Raises:
        QctlError: when it is run: as :func:`archive`, or an object of someone else depends on the log (7).
    """
    return db.Call("partition_attempts", {"interval": interval, **db.known(only_empty=only_empty or None)}, Partitioned)


def move_archived(connection: db.Connection, name: str, tell: Callable[[int], None]) -> int:
    """Moves what was archived before into the partitions, a stretch at a time; what is moved stays so when it is interrupted."""
    return _move(lambda: db.call_value(connection, "move_archived", queue=name)[0], tell)


def move_attempts(connection: db.Connection, tell: Callable[[int], None]) -> int:
    """The same for what was logged before."""
    return _move(lambda: db.call_value(connection, "move_attempts")[0], tell)


def _move(stretch: Callable[[], int], tell: Callable[[int], None]) -> int:
    moved = 0
    while count := stretch():
        moved += count
        tell(moved)
    return moved


def drop_old(connection: db.Connection, name: str, older_than_s: float) -> DroppedPartitions | None:
    """Drops the partitions that are wholly older than that; None where the archive has none."""
    rows = db.call(connection, DroppedPartitions, "purge_partitions", queue=name, older_than=f"{older_than_s} s")
    return rows[0] if rows else None


def forget_attempts(connection: db.Connection, name: str, dropped: DroppedPartitions) -> int:
    """Drops the partitions of the log that no queue needs any more, about how many attempts; or deletes, batch by batch,
    the attempts of messages that went with their partitions."""
    forgotten = 0
    while count := db.call_value(connection, "purge_attempts", queue=name, before=dropped.until)[0]:
        forgotten += count
    return forgotten
