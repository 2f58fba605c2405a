"""Attachments: tables whose changes are captured into a queue."""

import time
from collections.abc import Callable
from typing import TypeVar

from psycopg.types.json import Jsonb

from qctl import db
from qctl.db import files
from qctl.errors import ExitCode, QctlError
from qctl.models import AdoptedWebhook, AttachedTrigger, Attachment, DetachedTrigger

Result = TypeVar("Result")
Row = TypeVar("Row")

_TRIES = 5


def attach(
    relation: str,
    queue: str,
    *,
    operations: list[str],
    when: str | None,
    columns: list[str],
    payload: str,
    unchanged: bool,
    as_me: bool,
    replicated: bool = False,
    on_error: str | None = None,
    max_bytes: int | None = None,
    order_by: str | None = None,
) -> db.Call[AttachedTrigger]:
    """Captures a table's changes into a queue; waits at most 2 s for the table's lock.

    Raises:
        QctlError: when it is run: no such table, column or queue (6), not a plain table or attached already (7), the
            table stays locked (10).
    """
    arguments = {
        "relation": relation,
        "queue": queue,
        "operations": operations,
        "payload": payload,
        "unchanged": unchanged,
        "as_me": as_me,
    }
    more = db.known(
        when=when,
        columns=columns or None,
        replicated=replicated or None,
        on_error=on_error,
        max_bytes=max_bytes,
        order_by=order_by,
    )
    return db.Call("attach", arguments | more, AttachedTrigger)


def whole_table(relation: str, queue: str) -> db.Call[AttachedTrigger]:
    """Captures every change of a table."""
    return attach(
        relation,
        queue,
        operations=["INSERT", "UPDATE", "DELETE"],
        when=None,
        columns=[],
        payload="qctl",
        unchanged=False,
        as_me=False,
    )


def reattach(relation: str, queue: str) -> db.Call[AttachedTrigger]:
    """Makes the triggers of an attachment anew, with the options it has."""
    return db.Call("reattach", {"relation": relation, "queue": queue}, AttachedTrigger)


def adopt_webhook(relation: str, trigger: str, queue: str | None, transport: str | None) -> db.Call[AdoptedWebhook]:
    """Makes a queue and an attachment of a Supabase Database Webhook and disables its trigger, in one transaction.

    Raises:
        QctlError: when it is run: no such trigger (6); it sends no POST, or the queue has another URL (7); the table
            stays locked (10).
    """
    settings = Jsonb({"transport": transport} if transport else {})
    arguments = {"relation": relation, "trigger": trigger, **db.known(queue=queue), "settings": settings}
    return db.Call("adopt_webhook", arguments, AdoptedWebhook)


def detach(relation: str, queue: str | None) -> db.Call[DetachedTrigger]:
    """Stops capturing a table, into one queue or into all."""
    return db.Call("detach", {"relation": relation, **db.known(queue=queue)}, DetachedTrigger)


def run(connection: db.Connection, call: db.Call[Row], talk: Callable[[str], None]) -> list[Row]:
    """Runs a call that locks a table of the application: tries again while the table stays locked.

    Args:
        connection: to the database.
        call: one of this module's.
        talk: called with a line for people before each further try.
    """
    return with_retries(lambda: call.run(connection), talk)


def with_retries(run: Callable[[], Result], talk: Callable[[str], None]) -> Result:
    """Tries again while the table is locked: a waiting DDL statement holds up every other writer behind it."""
    for tried in range(1, _TRIES + 1):
        try:
            return run()
        except QctlError as error:
            if error.code is not ExitCode.BUSY or tried == _TRIES:
                raise
            talk(f"the table is locked by another session; try {tried + 1} of {_TRIES} in {tried} s")
            time.sleep(tried)
    raise AssertionError("unreachable")


def listed(connection: db.Connection, queue: str | None) -> list[Attachment]:
    """Attached tables, of one queue or of all."""
    return db.fetch(connection, Attachment, files.query("attachments"), {"queue": queue})
