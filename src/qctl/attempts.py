"""Attempts: those of one message, and those that settle as one looks."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from qctl import db, sqlfiles
from qctl.models import Attempt

_LONGEST = timedelta(seconds=60)
_MARGIN = timedelta(seconds=1)
_MOST = 100_000


def of_message(connection: db.Connection, queue: str, msg_id: int) -> list[Attempt]:
    """The attempts of a message in order, those under way at the end."""
    values = {"queue": queue, "msg_id": msg_id}
    return db.fetch(connection, Attempt, sqlfiles.query("message_attempts"), values)


@dataclass(frozen=True, slots=True)
class _Now:
    """A moment, and the one by which every transaction that may still log an attempt began; None where that is unknown."""

    at: datetime
    until: datetime | None


class Tail:
    """Attempts as they settle, each once.

    An attempt's ``settled_at`` is taken before its transaction commits, so rows can appear behind ones already seen: each
    look reads a window again and leaves out what it has shown. The window begins where the oldest transaction that writes
    began; one of somebody else that stays open holds it back for a minute at most.
    """

    def __init__(self, connection: db.Connection, queue: str | None, *, failed: bool) -> None:
        self._connection = connection
        self._queue = queue
        self._failed = failed
        self._since = datetime.min.replace(tzinfo=UTC)
        self._seen: dict[tuple[str, int, int, int], datetime] = {}

    def last(self, count: int) -> list[Attempt]:
        """The last attempts, oldest first; :meth:`look` goes on after them."""
        now = self._now()
        beginning, self._since = self._since, now.at - _LONGEST
        window = self._read(_MOST)
        rows = window[-count:]
        if len(window) < count:
            self._since = beginning
            rows = self._read(count)
            self._since = now.at - _LONGEST
        self._remember([*window, *rows])
        self._move(now)
        return rows

    def look(self, limit: int) -> list[Attempt]:
        """Attempts not seen before, oldest first; at most the ``limit`` newest."""
        now = self._now()
        rows = [row for row in self._read(limit) if _key(row) not in self._seen]
        self._remember(rows)
        self._move(now)
        return rows

    def _remember(self, rows: list[Attempt]) -> None:
        for row in rows:
            if row.settled_at is not None:
                self._seen[_key(row)] = row.settled_at

    def _move(self, now: _Now) -> None:
        """Moves the window on and forgets what lies before it."""
        longest = now.at - _LONGEST
        since = max(self._since, longest if now.until is None else max(longest, now.until - _MARGIN))
        self._since = since
        if len(self._seen) > 2 * self._kept:
            self._seen = {key: at for key, at in self._seen.items() if at >= since}
            self._kept = max(1000, len(self._seen))

    _kept = 1000

    def _now(self) -> _Now:
        return db.fetch(self._connection, _Now, sqlfiles.query("now"))[0]

    def _read(self, limit: int) -> list[Attempt]:
        values = {"queue": self._queue, "since": self._since, "failed": self._failed, "limit": limit}
        return db.fetch(self._connection, Attempt, sqlfiles.query("attempts_since"), values)


def _key(row: Attempt) -> tuple[str, int, int, int]:
    return row.queue_name, row.msg_id, row.delivery_no, row.attempt_no
