"""Attachments: tables whose changes are captured into a queue."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from psycopg.types.json import Jsonb

from qctl import db, sqlfiles
from qctl.errors import ExitCode, QctlError
from qctl.models import AdoptedWebhook, AttachedTrigger, Attachment, DetachedTrigger

Result = TypeVar("Result")

_TRIES = 5


def attachment(
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
) -> tuple[str, dict[str, Any]]:
    """The SQL function and arguments that attach a table; see :func:`attach`."""
    arguments = {
        "relation": relation,
        "queue": queue,
        "operations": operations,
        "when": when,
        "columns": columns or None,
        "payload": payload,
        "unchanged": unchanged,
        "as_me": as_me,
    }
    more = {"replicated": replicated or None, "on_error": on_error, "max_bytes": max_bytes, "order_by": order_by}
    return "attach", arguments | {name: value for name, value in more.items() if value is not None}


def attach(connection: db.Connection, arguments: dict[str, Any], talk: Callable[[str], None]) -> list[AttachedTrigger]:
    """Captures a table's changes into a queue; waits at most 2 s at a time for the table's lock.

    Raises:
        QctlError: no such table, column or queue (6), no plain table or attached already (7), the table stays locked (10).
    """
    return with_retries(lambda: db.call(connection, AttachedTrigger, "attach", **arguments), talk)


def reattach(
    connection: db.Connection, relation: str, queue: str, talk: Callable[[str], None]
) -> list[AttachedTrigger]:
    """Makes the triggers of an attachment anew, with the options it has."""
    return with_retries(lambda: db.call(connection, AttachedTrigger, "reattach", relation=relation, queue=queue), talk)


def adoption(relation: str, trigger: str, queue: str | None, transport: str | None) -> tuple[str, dict[str, Any]]:
    """The SQL function and arguments that take over a Supabase Database Webhook; see :func:`adopt_webhook`."""
    return "adopt_webhook", {
        "relation": relation,
        "trigger": trigger,
        "queue": queue,
        "settings": Jsonb({"transport": transport} if transport else {}),
    }


def adopt_webhook(
    connection: db.Connection,
    relation: str,
    trigger: str,
    queue: str | None,
    transport: str | None,
    talk: Callable[[str], None],
) -> AdoptedWebhook:
    """Makes a queue and an attachment of a Supabase Database Webhook and disables its trigger, in one transaction.

    Raises:
        QctlError: no such trigger (6); it sends no POST, or the queue has another URL (7); the table stays locked (10).
    """
    function, arguments = adoption(relation, trigger, queue, transport)
    return with_retries(lambda: db.call(connection, AdoptedWebhook, function, **arguments)[0], talk)


def detach(
    connection: db.Connection, relation: str, queue: str | None, talk: Callable[[str], None]
) -> list[DetachedTrigger]:
    """Stops capturing a table, into one queue or into all."""
    return with_retries(lambda: db.call(connection, DetachedTrigger, "detach", relation=relation, queue=queue), talk)


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
    return db.fetch(connection, Attachment, sqlfiles.query("attachments"), {"queue": queue})
