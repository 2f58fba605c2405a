"""Messages: send, find, show, replay."""

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from qctl import db
from qctl.db import files
from qctl.errors import ExitCode, NotFoundError, QctlError, UsageError
from qctl.models import DeadGroup, LifeEvent, Message, MessageListed, Payload, Replayed, SentOnce

_ID = re.compile(r"(?:([a-z_][a-z0-9_]{0,46})/)?([0-9]{1,19})")
_LARGEST_ID = 2**63 - 1


def _as_it_is(text: str) -> str:
    return text


def send(
    connection: db.Connection,
    queue: str,
    bodies: list[str],
    headers: dict[str, str],
    delay_s: float,
    order_key: str | None = None,
) -> list[int | QctlError]:
    """Enqueues messages; each gives its id or, where PostgreSQL refuses it, the error. The others are sent all the same.

    Args:
        bodies: JSON values as text.
        headers: sent as HTTP headers with each of them.
        delay_s: seconds before they may be delivered.
        order_key: delivered one at a time with the others of this key.
    """
    arguments: dict[str, Any] = {
        "queue": queue,
        "headers": Jsonb(headers) if headers else None,
        "delay_s": delay_s,
        "audit": True,
        "order_key": order_key,
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
    return send(connection, queue, bodies[:half], headers, delay_s, order_key) + send(
        connection, queue, bodies[half:], headers, delay_s, order_key
    )


def send_once(
    connection: db.Connection,
    queue: str,
    body: str,
    headers: dict[str, str],
    delay_s: float,
    dedup_key: str,
    window_s: float,
    order_key: str | None = None,
) -> SentOnce:
    """Enqueues a message unless one of this key was enqueued within the window; waits for another session that is about to.

    Raises:
        QctlError: no JSON, a key or window that cannot be (2), an unknown queue (6).
    """
    return db.call(
        connection,
        SentOnce,
        "send_once",
        queue=queue,
        message=Jsonb(body, dumps=_as_it_is),
        dedup_key=dedup_key,
        window=timedelta(seconds=window_s),
        headers=Jsonb(headers) if headers else None,
        delay_s=delay_s,
        order_key=order_key,
        audit=True,
    )[0]


def resolve(
    connection: db.Connection, ids: Iterable[str], queue: str | None, *, look: bool = True
) -> tuple[list[tuple[str, int]], list[str]]:
    """Finds the queue of each id as a user writes it: ``1234`` or ``orders/1234``; with ``look`` false, not whether it knows it.

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
        places = [named] if named and not look else db.call_value(connection, "locate", msg_id=msg_id, queue=named)
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
    rows = db.call(connection, Message, "message_state", queue=queue, msg_id=msg_id)
    if not rows:
        raise NotFoundError(f"message {msg_id} not found in queue {queue}")
    return rows[0]


def life(connection: db.Connection, queue: str, msg_id: int) -> list[LifeEvent]:
    """All that happened to a message, in order, and what comes next."""
    return db.fetch(connection, LifeEvent, files.query("life"), {"queue": queue, "msg_id": msg_id})


def states(connection: db.Connection, queue: str, msg_ids: list[int]) -> dict[int, str]:
    """How each message stands now; those that the queue knows."""
    return {msg_id: state for msg_id, state, _ in standings(connection, queue, msg_ids)}


def standings(connection: db.Connection, queue: str, msg_ids: list[int]) -> list[tuple[int, str, int]]:
    """Id, state and number of the delivery of those that the queue knows."""
    return list(db.call_tuples(connection, _standing, "message_states", queue=queue, msg_ids=msg_ids))


def _standing(msg_id: int, state: str, delivery_no: int) -> tuple[int, str, int]:
    return msg_id, state, delivery_no


def payloads(connection: db.Connection, queue: str, msg_ids: list[int]) -> dict[int, Payload]:
    """Headers and payloads by id.

    Raises:
        QctlError: this role may not see payloads (4).
    """
    rows = db.fetch(connection, Payload, files.query("payloads"), {"queue": queue, "msg_ids": msg_ids})
    return {row.msg_id: row for row in rows}


def dead(
    connection: db.Connection, queue: str | None, since: datetime | None = None, until: datetime | None = None
) -> list[DeadGroup]:
    """Dead letters by reason and status, of those that died since an instant and before another."""
    return db.fetch(connection, DeadGroup, files.query("dead"), {"queue": queue, "since": since, "until": until})


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages; None and empty lists do not restrict.

    ``since`` and ``until`` are about the last attempt, as ``status_codes`` (``404``, ``5xx``), ``error`` (a part of it, in any
    case), ``response`` and ``not_response`` (a part of the answer) are; ``captured_since`` is about when it was enqueued;
    ``attempted`` means unfinished and attempted, due or not; ``where`` is JSON that the payload contains.
    """

    states: list[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    captured_since: datetime | None = None
    status_codes: list[str] | None = None
    error: str | None = None
    response: str | None = None
    not_response: str | None = None
    attempted: bool = False
    where: str | None = None

    @property
    def by_attempt(self) -> bool:
        """Whether it is about the last attempt, so that messages come in the order of that."""
        about = (self.since, self.until, self.status_codes, self.error, self.response, self.not_response)
        return any(part is not None for part in about)


def listed(
    connection: db.Connection,
    names: list[str],
    which: Filter,
    *,
    before_id: int | None = None,
    before_at: datetime | None = None,
    page: int = 500,
) -> Iterator[MessageListed]:
    """Messages of these queues, the newest first: by their last attempt where the filter is about that, else by id.

    Args:
        connection: to the database.
        names: of the queues.
        which: the filter.
        before_id: only ids below this one; for one queue, and a filter that is not about attempts, unless ``before_at`` is given.
        before_at: only messages whose last attempt was before this instant, or at it with a lower id.
        page: how many are read at a time.
    """

    def moment(row: MessageListed) -> datetime:
        return (row.last_attempt_at if which.by_attempt else row.enqueued_at) or datetime.min.replace(tzinfo=UTC)

    pages = [_pages(connection, name, which, before_id, before_at, page) for name in names]
    return heapq.merge(*pages, key=moment, reverse=True)


def _pages(
    connection: db.Connection, name: str, which: Filter, before_id: int | None, before_at: datetime | None, page: int
) -> Iterator[MessageListed]:
    values: dict[str, Any] = {
        "queue": name,
        "states": which.states,
        "since": which.since,
        "until": which.until,
        "captured_since": which.captured_since,
        "status_codes": which.status_codes,
        "error": which.error,
        "response": which.response,
        "not_response": which.not_response,
        "attempted": which.attempted,
        "where": which.where,
        "limit": page,
        "before_id": before_id,
        "before_at": before_at,
    }
    query = files.query("messages" if which.where is None else "messages_where")
    while True:
        rows = db.fetch(connection, MessageListed, query, values)
        yield from rows
        if len(rows) < page:
            return
        values |= {"before_id": rows[-1].msg_id, "before_at": rows[-1].last_attempt_at}


@dataclass(frozen=True, slots=True)
class Seen:
    """Messages as somebody saw them: what changed meanwhile is left alone."""

    states: list[str | None]
    delivery_nos: list[int | None]

    def arguments(self) -> dict[str, Any]:
        """For ``qctl.replay`` and ``qctl.discard``."""
        return {"seen_states": self.states, "seen_delivery_nos": self.delivery_nos}


def discard(
    connection: db.Connection, queue: str, msg_ids: list[int], reason: str | None, seen: Seen | None = None
) -> list[Replayed]:
    """Gives up on unfinished messages; says of each id what was done."""
    more = seen.arguments() if seen else {}
    return db.call(connection, Replayed, "discard", queue=queue, msg_ids=msg_ids, reason=reason, **more)


def replay(
    connection: db.Connection,
    queue: str,
    msg_ids: list[int],
    reason: str | None,
    *,
    new_id: bool = False,
    per_s: float | None = None,
    after_s: float = 0.0,
    seen: Seen | None = None,
) -> list[Replayed]:
    """Delivers finished messages again; says of each id what was done.

    Args:
        connection: to the database.
        queue: their queue.
        msg_ids: their ids.
        reason: kept in the audit.
        new_id: under new webhook-ids, for receivers that acknowledged the old ones.
        per_s: so many a second, in the order of their ids; None: at once.
        after_s: when the first of them is due.
        seen: how they were when somebody agreed to it.
    """
    return db.call(
        connection,
        Replayed,
        "replay",
        queue=queue,
        msg_ids=msg_ids,
        reason=reason,
        new_id=new_id,
        per_s=per_s,
        after_s=after_s,
        **(seen.arguments() if seen else {}),
    )
