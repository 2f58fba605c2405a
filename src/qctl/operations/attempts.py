"""Attempts: those of one message, and those that settle as one looks."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from qctl import db
from qctl.db import files
from qctl.models import Attempt

_LONGEST = timedelta(seconds=60)
_MARGIN = timedelta(seconds=1)
_PAGE = 1000
_BEGINNING = datetime.min.replace(tzinfo=UTC)


def of_message(connection: db.Connection, queue: str, msg_id: int) -> list[Attempt]:
    """The attempts of a message in order, those under way at the end."""
    values = {"queue": queue, "msg_id": msg_id}
    return db.fetch(connection, Attempt, files.query("message_attempts"), values)


@dataclass(frozen=True, slots=True)
class _Now:
    """A moment, and the one by which every transaction that may still log an attempt began; None where that is unknown."""

    at: datetime
    until: datetime | None


class Key(NamedTuple):
    """What names an attempt, and when it was settled."""

    queue_name: str
    msg_id: int
    delivery_no: int
    attempt_no: int
    settled_at: datetime


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
        self._since = _BEGINNING
        self._seen: dict[tuple[str, int, int, int], datetime] = {}

    def last(self, count: int, since: datetime | None = None) -> list[Attempt]:
        """The last attempts, oldest first; :meth:`look` goes on after them.

        Args:
            count: at most so many.
            since: only those settled then or later.
        """
        now = self._now()
        self._since = now.at - _LONGEST
        window = self._keys()
        self._seen.update({key[:4]: key.settled_at for key in window})
        values = {"queue": self._queue, "since": since or _BEGINNING, "failed": self._failed, "limit": count}
        rows = db.fetch(self._connection, Attempt, files.query("attempts_since"), values)
        self._seen.update({_key(row): row.settled_at for row in rows if row.settled_at})
        self._move(now)
        return rows

    def look(self) -> Iterator[list[Attempt]]:
        """Attempts not seen before, oldest first, some at a time."""
        now = self._now()
        fresh = [key for key in self._keys() if key[:4] not in self._seen]
        for start in range(0, len(fresh), _PAGE):
            keys = fresh[start : start + _PAGE]
            yield db.fetch(self._connection, Attempt, files.query("attempts_by_key"), _named(keys))
            self._seen.update({key[:4]: key.settled_at for key in keys})
        self._move(now)

    def on(self, connection: db.Connection) -> "Tail":
        """The same on another connection: what was seen stays seen."""
        self._connection = connection
        return self

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
        return db.fetch(self._connection, _Now, files.query("now"))[0]

    def _keys(self) -> list[Key]:
        """What was settled in the window: names only, for it may be long and most of it is known."""
        values = {"queue": self._queue, "since": self._since, "failed": self._failed}
        return db.fetch_tuples(self._connection, Key, files.query("attempt_keys"), values)


def _named(keys: list[Key]) -> dict[str, object]:
    """The values with which a query asks for these attempts."""
    return {
        "queues": [key.queue_name for key in keys],
        "msg_ids": [key.msg_id for key in keys],
        "delivery_nos": [key.delivery_no for key in keys],
        "attempt_nos": [key.attempt_no for key in keys],
    }


def _key(row: Attempt) -> tuple[str, int, int, int]:
    return row.queue_name, row.msg_id, row.delivery_no, row.attempt_no
