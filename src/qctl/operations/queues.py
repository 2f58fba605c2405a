"""Queues: make, change, list, pause, resume, and how they stand."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from qctl import db
from qctl.db import files
from qctl.errors import NotFoundError, UsageError
from qctl.models import (
    Answers,
    CreatedQueue,
    Depth,
    DroppedQueue,
    GivenUp,
    Hour,
    Lag,
    PauseState,
    Queue,
    QueueListed,
    Status,
    TransportChoice,
    Undelivered,
    WorkerState,
)
from qctl.operations import migrate


def create(
    name: str,
    url: str,
    headers: dict[str, str],
    settings: dict[str, Any],
    *,
    waiting: str | None = None,
    take_over: bool = False,
    ignore_readers: bool = False,
    again: bool = False,
) -> db.Call[CreatedQueue]:
    """Makes a queue with its endpoint, or adopts a pgmq queue.

    Args:
        name: of the queue.
        url: of the endpoint.
        headers: HTTP headers of every request.
        settings: those of ``qctl.set_queue``.
        waiting: what becomes of messages in a pgmq queue of that name: ``deliver`` or ``skip``.
        take_over: switch off cron jobs that take messages from it.
        ignore_readers: leave those jobs as they are.
        again: change the queue if it is there already.

    Raises:
        QctlError: when it is run: a name, URL, header or setting is not valid (2); pg_net is wanted and is not there
            (4); the queue exists, a pgmq queue does and nothing is said of its messages, or a cron job reads it (7).
    """
    optional = db.known(
        headers=Jsonb(headers) if headers else None,
        settings=Jsonb(settings) if settings else None,
        waiting=waiting,
        take_over=take_over or None,
        ignore_readers=ignore_readers or None,
        again=again or None,
    )
    return db.Call("create_queue", {"queue": name, "url": url, **optional}, CreatedQueue)


def change(
    name: str, url: str | None, headers: Mapping[str, str | None], settings: dict[str, Any]
) -> db.Call[dict[str, Any]]:
    """Changes a queue's endpoint, headers and settings. A header with value None goes; what is not named stays."""
    optional = db.known(
        url=url,
        headers=Jsonb(headers) if headers else None,
        settings=Jsonb(settings) if settings else None,
    )
    return db.Call("set_queue", {"queue": name, **optional}, dict[str, Any])


def alter(
    connection: db.Connection, name: str, url: str | None, headers: Mapping[str, str | None], settings: dict[str, Any]
) -> Queue:
    """Runs :func:`change` and returns the queue as it is now."""
    change(name, url, headers, settings).execute(connection)
    return described(connection, name)


def transport(connection: db.Connection, wanted: str, url: str | None = None) -> TransportChoice:
    """What ``auto``, ``pg_net`` or ``http`` comes to in this database, for the endpoint ``url`` if there is one.

    Raises:
        QctlError: pg_net is wanted and cannot be used (4), or the URL is a broker's (2).
    """
    return db.call(connection, TransportChoice, "choose_transport", wanted=wanted, **db.known(url=url))[0]


def waiting(connection: db.Connection, name: str) -> int:
    """Messages in a pgmq queue of that name that is not one of ours; 0 where there is none."""
    return db.call_value(connection, "waiting", queue=name)[0]


def undelivered(connection: db.Connection, name: str) -> Undelivered:
    """What would be given up with a queue."""
    return db.call(connection, Undelivered, "undelivered", queue=name)[0]


def begin_drop(connection: db.Connection, name: str, *, discard: bool) -> GivenUp:
    """The long part of a drop, which locks no table of the application."""
    return db.call(connection, GivenUp, "_drop_begin", queue=name, discard=discard)[0]


def drop(name: str, *, discard: bool, with_archive: bool, if_exists: bool = False) -> db.Call[DroppedQueue]:
    """Drops a queue: triggers, settings, pgmq's table.

    Args:
        name: of the queue.
        discard: give up unfinished messages.
        with_archive: drop the archive too.
        if_exists: do nothing where there is no such queue.

    Raises:
        QctlError: when it is run: no such queue (6), unfinished messages and no ``discard`` (7), a table stays locked (10).
    """
    optional = db.known(discard=discard or None, with_archive=with_archive or None, if_exists=if_exists or None)
    return db.Call("drop_queue", {"queue": name, **optional}, DroppedQueue)


def listed(connection: db.Connection) -> list[QueueListed]:
    """All queues by name.

    Raises:
        QctlError: schema qctl is there without its data (5).
    """
    rows = db.fetch(connection, QueueListed, files.query("queues"))
    if not rows:
        migrate.require_data(connection)
    return rows


def described(connection: db.Connection, name: str) -> Queue:
    """One queue's settings.

    Raises:
        QctlError: no such queue (6).
    """
    return db.fetch(connection, Queue, files.query("queue"), {"queue": name})[0]


def the_one(connection: db.Connection, given: str | None) -> str:
    """The queue that a verb for exactly one queue works on: the given one, else the only one there is.

    Raises:
        QctlError: there is none (6), or several and none was given (2).
    """
    if given is not None:
        return described(connection, given).queue_name
    names = [queue.queue_name for queue in listed(connection)]
    if not names:
        raise NotFoundError("no queue exists yet", hint="qctl create NAME --url URL")
    if len(names) > 1:
        raise UsageError(
            f"no queue was named, and there are {', '.join(names)}", hint=f"-q {names[0]}, or QCTL_QUEUE={names[0]}"
        )
    return names[0]


def some(connection: db.Connection, given: str | None) -> list[str]:
    """The queues that a verb for all queues works on: the given one, or all.

    Raises:
        QctlError: the given one is not there (6).
    """
    return (
        [described(connection, given).queue_name] if given is not None else [q.queue_name for q in listed(connection)]
    )


def pause(connection: db.Connection, name: str, reason: str | None) -> PauseState:
    """Stops claiming from a queue."""
    return db.call(connection, PauseState, "pause", queue=name, reason=reason)[0]


def resume(connection: db.Connection, name: str) -> PauseState:
    """Lets workers claim from a queue again."""
    return db.call(connection, PauseState, "resume", queue=name)[0]


def statuses(connection: db.Connection, name: str | None) -> list[Status]:
    """How each queue stands, or one."""
    if name is not None:
        described(connection, name)
    rows = db.fetch(connection, Status, files.query("status"), {"queue": name})
    if not rows:
        migrate.require_data(connection)
    return rows


def depths(connection: db.Connection, name: str | None) -> list[Depth]:
    """Unfinished messages by state, of each queue or of one."""
    return db.fetch(connection, Depth, files.query("depth"), {"queue": name})


def lags(connection: db.Connection, name: str | None) -> list[Lag]:
    """Lag and age of each queue or of one."""
    return db.fetch(connection, Lag, files.query("lag"), {"queue": name})


def hours(connection: db.Connection, name: str | None) -> list[Hour]:
    """The last hour minute by minute, of each queue or of one."""
    return db.fetch(connection, Hour, files.query("hour"), {"queue": name})


def answers(connection: db.Connection, name: str | None) -> list[Answers]:
    """What the last 5,000 attempts within an hour came to, of each queue or of one."""
    if name is not None:
        described(connection, name)
    return db.fetch(connection, Answers, files.query("answers"), {"queue": name})


def workers(connection: db.Connection) -> list[WorkerState]:
    """The workers, newest first."""
    return db.fetch(connection, WorkerState, files.query("workers"))
