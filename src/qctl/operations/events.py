"""Operational events: the queue that they go into."""

from dataclasses import replace

from qctl import db
from qctl.models import EventRoute, EventRouteSet
from qctl.operations import queues, secrets

QUEUE = "qctl_events"


def route(connection: db.Connection) -> EventRoute | None:
    """Where events go; None: nowhere."""
    rows = db.call(connection, EventRoute, "event_route")
    return rows[0] if rows else None


def set_route(
    connection: db.Connection, queue: str | None, throttle_s: int | None, format_: str | None = None
) -> EventRouteSet:
    """Sends events into a queue from now on, or nowhere.

    Raises:
        QctlError: no such queue (6), a throttle out of range or no such format (2).
    """
    arguments = {"queue": queue, "throttle_s": throttle_s, "format": format_}
    return db.call(connection, EventRouteSet, "set_event_route", **arguments)[0]


def set_url(connection: db.Connection, url: str, throttle_s: int | None, format_: str | None = None) -> EventRouteSet:
    """Sends events to a URL, by a queue of their own; the queue is made if it is not there, and a secret that signs it."""
    with db.transaction(connection):
        if any(row.queue_name == QUEUE for row in queues.listed(connection)):
            queues.alter(connection, QUEUE, url, {}, {})
        else:
            queues.create(QUEUE, url, {}, {"transport": "auto"}).execute(connection)
        made = None
        if not any(row.kind == "signing" for row in secrets.listed(connection, QUEUE)):
            made = secrets.rotate(connection, QUEUE, None, 0.0).secret
        return replace(set_route(connection, QUEUE, throttle_s, format_), secret=made)
