"""Copies of messages, in the order of their ids, taken from nobody."""

import time
from collections.abc import Iterator
from uuid import UUID

from psycopg.types.json import Jsonb

from qctl import db
from qctl.models import CopiesBegin, Copy

BATCH = 500
# An id is drawn a moment before its transaction gets a number; nobody takes as long as this in between.
_NUMBERED_S = 5.0
_MOST_MISSING = 2000
_LOOKED_BACK = 400


class Copies:
    """The copies of a queue from now on, each once.

    Transactions commit in another order than that of their ids, so an id that is missing below one that was seen is looked for
    until every transaction that could still commit it has ended. ``given_up`` counts ids that were too many to look for.
    """

    def __init__(self, connection: db.Connection, queue: str, where: str | None = None) -> None:
        """``where`` is JSON that the payload contains.

        Raises:
            QctlError: no such queue (6), this role may not see payloads (4).
        """
        self._connection = connection
        self._queue = queue
        self._where = None if where is None else Jsonb(where, dumps=str)
        self.given_up = 0
        # Since when an id is missing, and, once that is known, the number of the first transaction that cannot commit it.
        self._missing: dict[int, tuple[float, int | None]] = {}
        state = self._begin()
        self._uuid: UUID = state.queue_uuid
        self.newest = state.newest
        # What began before and is not committed yet is still to come.
        first = max(0, state.newest - _LOOKED_BACK)
        known = {row.msg_id for row in self._read(first, [], Jsonb({"": "nothing"}))}
        self._note(now := time.monotonic(), [one for one in range(first + 1, state.newest) if one not in known])
        self._forget(now, state)

    def on(self, connection: db.Connection) -> None:
        """Goes on with another connection."""
        self._connection = connection

    def take(self) -> list[Copy]:
        """The next copies, at most :data:`BATCH`; those without a body were not asked for."""
        state = self._begin()
        if state.queue_uuid != self._uuid:
            # Dropped and made again: its ids begin anew.
            self._uuid, self.newest = state.queue_uuid, 0
            self._missing.clear()
        rows = self._read(self.newest, list(self._missing), self._where)
        seen = {row.msg_id for row in rows}
        for msg_id in seen:
            self._missing.pop(msg_id, None)
        top, now = max([self.newest, *seen]), time.monotonic()
        self.given_up += max(0, top - self.newest - 1 - _MOST_MISSING)
        self._note(now, [one for one in range(max(self.newest + 1, top - _MOST_MISSING), top) if one not in seen])
        self.newest = top
        self._forget(now, state)
        return rows

    def _note(self, now: float, ids: list[int]) -> None:
        self._missing |= dict.fromkeys(ids, (now, None))
        for msg_id in sorted(self._missing)[: max(0, len(self._missing) - _MOST_MISSING)]:
            del self._missing[msg_id]
            self.given_up += 1

    def _forget(self, now: float, state: CopiesBegin) -> None:
        for msg_id, (since, first_after) in list(self._missing.items()):
            if first_after is None:
                if now - since > _NUMBERED_S:
                    self._missing[msg_id] = (since, int(state.next_transaction))
            elif int(state.oldest_running) >= first_after:
                del self._missing[msg_id]

    def _begin(self) -> CopiesBegin:
        return db.call(self._connection, CopiesBegin, "copies_begin", queue=self._queue)[0]

    def _read(self, after: int, ids: list[int], where: Jsonb | None) -> list[Copy]:
        return db.call(
            self._connection, Copy, "copies", queue=self._queue, after=after, ids=ids, where=where, limit=BATCH
        )


def chosen(connection: db.Connection, queue: str, ids: list[int]) -> Iterator[Copy]:
    """The copies of these messages, in the order of their ids; those that are gone are left out."""
    left = sorted(ids)
    while left:
        rows = db.call(connection, Copy, "copies", queue=queue, after=None, ids=left[:BATCH], where=None, limit=BATCH)
        yield from rows
        # An answer of large messages has not all of them.
        last = rows[-1].msg_id if rows else left[:BATCH][-1]
        left = [one for one in left if one > last]
