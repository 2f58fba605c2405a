"""A test event: it goes the whole way that every message goes, and its answer comes back."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from qctl import db
from qctl.errors import QctlError
from qctl.models import Attempt
from qctl.operations import attempts, messages

_POLL_S = 0.1
_NOTE = "a test event"


def send(connection: db.Connection, queue: str, body: str | None) -> int:
    """Enqueues a test event and returns its id; without ``body`` one that looks like a captured change."""
    event: dict[str, Any] = {
        "operation": "TEST",
        "schema": "qctl",
        "table": "test",
        "record": {"queue": queue, "sent_at": datetime.now(UTC).isoformat()},
        "old_record": None,
    }
    (result,) = messages.send(connection, queue, [body or json.dumps(event)], {"x-qctl-test": "1"}, 0.0)
    if isinstance(result, QctlError):
        raise result
    return result


def answer(connection: db.Connection, queue: str, msg_id: int, within_s: float) -> Attempt | None:
    """Waits for the first settled attempt of a message; None if there is none within that time."""
    until = time.monotonic() + within_s
    while True:
        for attempt in attempts.of_message(connection, queue, msg_id):
            if attempt.settled_at is not None and attempt.outcome != "lapsed":
                return attempt
        if time.monotonic() > until:
            return None
        time.sleep(_POLL_S)


def withdraw(connection: db.Connection, queue: str, msg_id: int) -> bool:
    """Takes back a test event that was not delivered, so that it is not tried again and leaves no dead letter.

    Returns:
        False if it was delivered after all.
    """
    at = messages.get(connection, queue, msg_id).enqueued_at
    (done,) = messages.discard(connection, queue, [msg_id], _NOTE)
    if done.outcome == "finished":
        return messages.get(connection, queue, msg_id).state != "delivered"
    db.call_value(connection, "purge_these", queue=queue, msg_ids=[msg_id], enqueued_at=[str(at)], dead=True)
    return True
