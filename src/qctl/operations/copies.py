"""Copies of messages, in the order of their ids, taken from nobody."""

import time
from collections.abc import Iterator

from psycopg.types.json import Jsonb

from qctl import db
from qctl.models import CopiesBegin, Copy

BATCH = 500
# An id is drawn a moment before its transaction gets a number; nobody takes as long as this in between.
_NUMBERED_S = 5.0
_MOST_MISSING = 10_000


class Copies:
    """The copies of a queue from now on, each once.

    Transactions commit in another order than that of their ids, so an id that is missing below one that was seen is looked for
    until every transaction that could still commit it has ended.
    """

    def __init__(self, connection: db.Connection, queue: str, where: str | None = None) -> None:
        """``where`` is JSON that the payload contains.

        Raises:
            QctlError: no such queue (6), this role may not see payloads (4).
        """
        self._connection = connection
        self._queue = queue
        self._where = None if where is None else Jsonb(where, dumps=str)
        self._newest = self._begin().newest
        # Since when an id is missing, and, once that is known, the number of the first transaction that cannot commit it.
        self._missing: dict[int, tuple[float, int | None]] = {}

    def on(self, connection: db.Connection) -> None:
        """Goes on with another connection."""
        self._connection = connection

    def take(self) -> list[Copy]:
        """The next copies, at most :data:`BATCH`; those without a body were not asked for."""
        state = self._begin()
        rows = self._read(self._newest, list(self._missing))
        seen = {row.msg_id for row in rows}
        for msg_id in seen:
            self._missing.pop(msg_id, None)
        top, now = max([self._newest, *seen]), time.monotonic()
        for msg_id in range(max(self._newest + 1, top - _MOST_MISSING), top):
            if msg_id not in seen:
                self._missing[msg_id] = (now, None)
        self._newest = top
        self._forget(now, state)
        return rows

    def _forget(self, now: float, state: CopiesBegin) -> None:
        for msg_id, (since, first_after) in list(self._missing.items()):
            if first_after is None:
                if now - since > _NUMBERED_S:
                    self._missing[msg_id] = (since, int(state.next_transaction))
            elif int(state.oldest_running) >= first_after:
                del self._missing[msg_id]

    def _begin(self) -> CopiesBegin:
        return db.call(self._connection, CopiesBegin, "copies_begin", queue=self._queue)[0]

    def _read(self, after: int | None, ids: list[int]) -> list[Copy]:
        return db.call(
            self._connection, Copy, "copies", queue=self._queue, after=after, ids=ids, where=self._where, limit=BATCH
        )


def chosen(connection: db.Connection, queue: str, ids: list[int]) -> Iterator[Copy]:
    """The copies of these messages, in the order of their ids; those that are gone are left out."""
    ordered = sorted(ids)
    for at in range(0, len(ordered), BATCH):
        yield from db.call(
            connection, Copy, "copies", queue=queue, after=None, ids=ordered[at : at + BATCH], where=None, limit=BATCH
        )
