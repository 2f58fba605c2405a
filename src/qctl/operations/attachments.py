"""Attachments: tables whose changes are captured into a queue."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from psycopg.types.json import Jsonb

from qctl import db
from qctl.db import files
from qctl.errors import ExitCode, QctlError
from qctl.models import AdoptedWebhook, AttachedTrigger, Attachment, DetachedTrigger, ReleasedEvents

Result = TypeVar("Result")
Row = TypeVar("Row")

_TRIES = 5


def attach(
    relation: str, queue: str, options: dict[str, Any] | None = None, *, again: bool = False
) -> db.Call[AttachedTrigger]:
    """Captures a table's changes into a queue; waits at most 2 s for the table's lock.

    Args:
        relation: the table.
        queue: the queue.
        options: columns of ``qctl.attachment`` by name; those that are missing have their default.
        again: change the attachment if the table, or one of its name that was created again, is attached already.

    Raises:
        QctlError: when it is run: no such table, column or queue (6), not a plain table or attached already (7), the
            table stays locked (10).
    """
    arguments = {name.removesuffix("_sql"): value for name, value in (options or {}).items()}
    return db.Call(
        "set_attachment" if again else "attach", {"relation": relation, "queue": queue, **arguments}, AttachedTrigger
    )


def change(relation: str, queue: str, options: dict[str, Any]) -> db.Call[AttachedTrigger]:
    """Changes options of an attachment and keeps the others; follows a table or a column that was renamed or created again.

    Args:
        relation: the table.
        queue: its queue.
        options: columns of ``qctl.attachment`` by name; an empty ``when_sql``, ``columns``, ``order_by`` or
            ``body_sql`` removes it.
    """
    return db.Call(
        "change_attachment", {"relation": relation, "queue": queue, "options": Jsonb(options)}, AttachedTrigger
    )


def release(relation: str, queue: str, *, as_is: bool) -> db.Call[ReleasedEvents]:
    """Queues a batch of the held events of an attachment, oldest first.

    Args:
        relation: the table.
        queue: its queue.
        as_is: also those about which the attachment's options cannot decide.
    """
    return db.Call(
        "release_held", {"relation": relation, "queue": queue, **db.known(as_is=as_is or None)}, ReleasedEvents
    )


def release_all(connection: db.Connection, call: db.Call[ReleasedEvents]) -> ReleasedEvents:
    """Runs a call of :func:`release` until it finds nothing more to do; returns the sums."""
    total = ReleasedEvents(0, 0)
    while True:
        batch = call.one(connection)
        if batch == ReleasedEvents(0, 0):
            return total
        total = ReleasedEvents(total.queued + batch.queued, total.dropped + batch.dropped)


def adopt_webhook(relation: str, trigger: str, queue: str | None, transport: str | None) -> db.Call[AdoptedWebhook]:
    """Makes a queue and an attachment of a Supabase Database Webhook and disables its trigger, in one transaction.

    Raises:
        QctlError: when it is run: no such trigger (6); it sends no POST, or the queue has another URL (7); the table
            stays locked (10).
    """
    settings = Jsonb({"transport": transport} if transport else {})
    arguments = {"relation": relation, "trigger": trigger, **db.known(queue=queue), "settings": settings}
    return db.Call("adopt_webhook", arguments, AdoptedWebhook)


def detach(relation: str, queue: str | None, *, if_exists: bool = False) -> db.Call[DetachedTrigger]:
    """Stops capturing a table, into one queue or into all; with ``if_exists`` also where it is not attached."""
    return db.Call(
        "detach", {"relation": relation, **db.known(queue=queue, if_exists=if_exists or None)}, DetachedTrigger
    )


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


def lock(connection: db.Connection, relations: list[str]) -> None:
    """Takes the locks that attaching these tables needs, all at once, until the transaction ends."""
    db.call_value(connection, "_lock_captured", relations=relations, exclusively=[])


def listed(connection: db.Connection, queue: str | None) -> list[Attachment]:
    """Attached tables, of one queue or of all."""
    return db.fetch(connection, Attachment, files.query("attachments"), {"queue": queue})
