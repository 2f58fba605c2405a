"""Backfill: rows of a table that exist already, as messages of operation READ, page by page."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from qctl import db
from qctl.errors import ExitCode, QctlError
from qctl.models import Backfill, BackfillBegun, BackfillPage, BackfillPreview, BackfillSet

PAGE = 500
FIRST_PAGE = 50
# Rows stay locked while a page is queued: one that takes long is followed by a smaller one, and a short one by a larger.
_LONG_S, _SHORT_S = 0.5, 0.2


def begin(relation: str, queue: str, options: dict[str, Any]) -> db.Call[BackfillBegun]:
    """Begins a run, or goes on with one that is not finished.

    Args:
        relation: the table.
        queue: the queue.
        options: arguments of ``qctl.begin_backfill``: where, columns, since, by, rate_per_s, missed, as_me.

    Raises:
        QctlError: when it is run: no such table, column or queue (6), not a valid condition (2), no key, another run of
            the table is not finished, or its events are held (7).
    """
    return db.Call("begin_backfill", {"relation": relation, "queue": queue, **options}, BackfillBegun)


def preview(connection: db.Connection, call: db.Call[BackfillBegun]) -> BackfillPreview:
    """What a run would read, counted, and how long it would take: by its rate, or measured on a first page that is undone."""
    with db.transaction(connection, dry_run=True):
        begun = db.Call(call.function, call.arguments | {"preview": True}, call.model).one(connection)
        rows = db.call_value(connection, "count_backfill", backfill_id=begun.backfill_id)[0]
        started = time.monotonic()
        tried = db.call_value(connection, "try_backfill", backfill_id=begun.backfill_id, limit=FIRST_PAGE)[0]
        page_s = time.monotonic() - started
    left = max(0, rows - begun.scanned)
    per_s = begun.rate_per_s or (tried / page_s if tried else None)
    return BackfillPreview(
        begun.relation, begun.queue_name, left, left / per_s if per_s else None, begun.resumed
    )  # fmt: skip


def run(
    connection: db.Connection, begun: BackfillBegun, tell: Callable[[int], None], wait: Callable[[str], None]
) -> BackfillPage:
    """Queues page after page, each in a transaction of its own, until the run has ended.

    Args:
        connection: to the database, in no transaction.
        begun: the run.
        tell: called with the number of rows that this run has read in all.
        wait: called with a line for people when a row is held by another session.

    Returns:
        The last page: done, or paused, cancelled or failed.
    """
    scanned, most = begun.scanned, FIRST_PAGE
    largest = PAGE if begun.rate_per_s is None else max(1, min(PAGE, round(begun.rate_per_s / 2)))
    due, told_waiting = time.monotonic(), False
    while True:
        started = time.monotonic()
        try:
            page = _page(connection, begun.backfill_id, min(most, largest))
        except QctlError as error:
            if error.code is not ExitCode.BUSY:
                raise
            if not told_waiting:
                wait(f"a row of {begun.relation} is held by another session; waiting for it")
            told_waiting = True
            continue
        told_waiting = False
        if page.state != "running":
            return page
        scanned += page.rows
        tell(scanned)
        took_s = time.monotonic() - started
        if took_s > _LONG_S:
            most = max(1, most // 2)
        elif took_s < _SHORT_S and page.rows >= min(most, largest):
            most = min(PAGE, most * 2)
        if begun.rate_per_s is not None:
            due = max(due, time.monotonic() - 1) + page.rows / begun.rate_per_s
            time.sleep(max(0.0, due - time.monotonic()))


def _page(connection: db.Connection, number: int, most: int) -> BackfillPage:
    return db.call(connection, BackfillPage, "backfill_page", backfill_id=number, limit=most)[0]


def set_state(connection: db.Connection, relation: str, queue: str, state: str) -> BackfillSet:
    """Pauses or cancels the run of a table.

    Raises:
        QctlError: none is under way (6).
    """
    return db.call(connection, BackfillSet, "set_backfill", relation=relation, queue=queue, state=state)[0]


def runs(connection: db.Connection, queue: str | None, *, unfinished: bool = False) -> list[Backfill]:
    """Runs into a queue or all, oldest first; or only those that are not finished."""
    return db.call(connection, Backfill, "backfills", queue=queue, unfinished=unfinished)


def moment(at: datetime | None) -> str | None:
    """An instant as ``qctl.begin_backfill`` takes it."""
    return None if at is None else at.isoformat()
