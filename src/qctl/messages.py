"""Messages: send, find, show, replay."""

import re
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from qctl import db
from qctl.errors import ExitCode, NotFoundError, QctlError, UsageError
from qctl.models import Message, Replayed

_ID = re.compile(r"(?:([a-z_][a-z0-9_]{0,46})/)?([0-9]{1,19})")
_LARGEST_ID = 2**63 - 1


def _as_it_is(text: str) -> str:
    return text


def send(
    connection: db.Connection, queue: str, bodies: list[str], headers: dict[str, str], delay_s: float
) -> list[int | QctlError]:
    """Enqueues messages; each gives its id or, where PostgreSQL refuses it, the error. The others are sent all the same.

    Args:
        bodies: JSON values as text.
        headers: sent as HTTP headers with each of them.
        delay_s: seconds before they may be delivered.
    """
    arguments: dict[str, Any] = {
        "queue": queue,
        "headers": Jsonb(headers) if headers else None,
        "delay_s": delay_s,
        "audit": True,
    }
    try:
        return list(
            db.call_value(connection, "send", messages=[Jsonb(body, dumps=_as_it_is) for body in bodies], **arguments)
        )
    except QctlError as error:
        if error.code is not ExitCode.USAGE or not isinstance(error.__cause__, psycopg.DataError):
            raise
        if len(bodies) == 1:
            return [error]
    half = len(bodies) // 2
    return send(connection, queue, bodies[:half], headers, delay_s) + send(
        connection, queue, bodies[half:], headers, delay_s
    )


def resolve(
    connection: db.Connection, ids: Iterable[str], queue: str | None
) -> tuple[list[tuple[str, int]], list[str]]:
    """Finds the queue of each id as a user writes it: ``1234`` or ``orders/1234``.

    Returns:
        The (queue, msg_id) pairs in the order given, each once, and the ids that no queue knows.

    Raises:
        QctlError: what is no id, or a bare id that two queues know (2); an unknown queue (6).
    """
    found: dict[tuple[str, int], None] = {}
    unknown: list[str] = []
    for text in ids:
        match = _ID.fullmatch(text)
        if not match or int(match[2]) > _LARGEST_ID:
            raise UsageError(f"'{text[:100]}' is not a message id", hint="write 1234 or orders/1234")
        named = match[1] or queue
        msg_id = int(match[2])
        places = db.call_value(connection, "locate", msg_id=msg_id, queue=named)
        if len(places) > 1:
            choices = " or ".join(f"{place}/{msg_id}" for place in places)
            raise UsageError(f"message {msg_id} is in more than one queue", hint=f"write {choices}")
        if places:
            found[places[0], msg_id] = None
        else:
            unknown.append(text)
    return list(found), unknown


def get(connection: db.Connection, queue: str, msg_id: int) -> Message:
    """One message as it stands now.

    Raises:
        QctlError: the queue does not know it (6).
    """
    rows = db.call(connection, Message, "message", queue=queue, msg_id=msg_id)
    if not rows:
        raise NotFoundError(f"queue {queue} knows no message {msg_id}")
    return rows[0]


def discard(connection: db.Connection, queue: str, msg_ids: list[int], reason: str | None) -> list[Replayed]:
    """Gives up on unfinished messages; says of each id what was done."""
    return db.call(connection, Replayed, "discard", queue=queue, msg_ids=msg_ids, reason=reason)


def replay(connection: db.Connection, queue: str, msg_ids: list[int], reason: str | None) -> list[Replayed]:
    """Delivers finished messages again; says of each id what was done."""
    return db.call(connection, Replayed, "replay", queue=queue, msg_ids=msg_ids, reason=reason)
