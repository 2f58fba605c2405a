"""Archives and the attempt log in partitions by date: making them, moving in what was there before, dropping the old ones."""

from collections.abc import Callable

from qctl import db
from qctl.models import DroppedPartitions, Partitioned


def archive(connection: db.Connection, name: str, interval: str) -> Partitioned:
    """Puts a queue's archive into partitions, if it is not yet, and says what is still to be moved into them.

    Raises:
        QctlError: no such interval (2), no pg_partman or too old a pgmq (4), a lock was not to be had (10).
    """
    function, arguments = archive_call(name, interval)
    return db.call(connection, Partitioned, function, **arguments)[0]


def attempts(connection: db.Connection, interval: str, *, only_empty: bool = False) -> Partitioned:
    """The same for the attempt log, which all queues share; ``only_empty`` leaves one alone in which something is.

    Raises:
        QctlError: as :func:`archive`, or something of others is bound to the log (7).
    """
    function, arguments = attempts_call(interval, only_empty=only_empty)
    return db.call(connection, Partitioned, function, **arguments)[0]


def archive_call(name: str, interval: str) -> tuple[str, dict[str, object]]:
    """The SQL function and arguments of :func:`archive`."""
    return "partition_archive", {"queue": name, "interval": interval}


def attempts_call(interval: str, *, only_empty: bool = False) -> tuple[str, dict[str, object]]:
    """The SQL function and arguments of :func:`attempts`."""
    return "partition_attempts", {"interval": interval, **({"only_empty": True} if only_empty else {})}


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
