"""Attempts: those of one message, and those that settle as one looks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from qctl import db, sqlfiles
from qctl.models import Attempt

_WINDOW = timedelta(seconds=15)
_MOST = 100_000


def of_message(connection: db.Connection, queue: str, msg_id: int) -> list[Attempt]:
    """The attempts of a message in order, those under way at the end."""
    values = {"queue": queue, "msg_id": msg_id}
    return db.fetch(connection, Attempt, sqlfiles.query("message_attempts"), values)


class Tail:
    """Attempts as they settle, each once.

    An attempt's ``settled_at`` is taken before its transaction commits, so rows can appear behind ones already seen:
    each look reads a window again and leaves out what it has shown.
    """

    def __init__(self, connection: db.Connection, queue: str | None, *, failed: bool) -> None:
        self._connection = connection
        self._queue = queue
        self._failed = failed
        self._since = datetime.min.replace(tzinfo=UTC)
        self._seen: dict[tuple[str, int, int, int], datetime] = {}

    def last(self, count: int) -> list[Attempt]:
        """The last attempts, oldest first; :meth:`look` goes on after them."""
        rows = self._read(count)
        if rows and (newest := rows[-1].settled_at):
            self._since = newest - _WINDOW
            list(self.look(_MOST))
        return rows

    def look(self, limit: int) -> Iterator[Attempt]:
        """Attempts not seen before, oldest first; at most the ``limit`` newest."""
        rows = self._read(limit)
        for row in rows:
            key = (row.queue_name, row.msg_id, row.delivery_no, row.attempt_no)
            if key not in self._seen and row.settled_at is not None:
                self._seen[key] = row.settled_at
                yield row
        if rows and (newest := rows[-1].settled_at):
            self._since = max(self._since, newest - _WINDOW)
            self._seen = {key: at for key, at in self._seen.items() if at >= self._since}

    def _read(self, limit: int) -> list[Attempt]:
        values = {"queue": self._queue, "since": self._since, "failed": self._failed, "limit": limit}
        return db.fetch(self._connection, Attempt, sqlfiles.query("attempts_since"), values)
