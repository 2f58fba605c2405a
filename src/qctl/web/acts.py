"""What can be done from a page: first what it would do, then, with a reason, the deed."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qctl import db
from qctl.errors import UsageError
from qctl.operations import messages, queues, test_event
from qctl.web import pages
from qctl.web.database import Shared

VERBS = ("replay", "discard", "pause", "resume", "test")
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done: asked before it is."""

    verb: str
    queue: str
    sentence: str
    count: int
    needs_reason: bool
    fields: dict[str, str]
    command: str


@dataclass(frozen=True, slots=True)
class Done:
    """What the database says it did."""

    sentence: str
    queue: str
    outcomes: dict[str, int]


def plan(database: Shared, verb: str, given: Mapping[str, str]) -> Planned:
    """What an act would do, counted.

    Raises:
        QctlError: no such queue or message (6), nothing was chosen (2).
    """
    queue = given.get("queue", "")
    if verb in ("pause", "resume", "test"):
        database.ask(("known", queue), lambda connection: pages.require_queue(connection, queue))
        sentence = {
            "pause": f"Queue {queue} will be paused: its messages wait.",
            "resume": f"Queue {queue} will deliver again.",
            "test": f"A test event will be sent to the endpoint of {queue}.",
        }[verb]
        return Planned(
            verb, queue, sentence, 1, verb == "pause", {"queue": queue}, f"qctl {verb} -q {shlex.quote(queue)}"
        )
    ids = database.ask(("chosen", verb, *sorted(given.items())), lambda connection: _chosen(connection, verb, given))
    word = "delivered again" if verb == "replay" else "discarded and become dead letters"
    sentence = f"{len(ids):,} {'message' if len(ids) == 1 else 'messages'} of {queue} will be {word}."
    fields = {name: given[name] for name in ("queue", "ids", "reason_group", "status") if name in given}
    named = " ".join(f"{queue}/{msg_id}" for msg_id in ids[:20])
    command = f"qctl {verb} {named}" + (" …" if len(ids) > 20 else "")
    return Planned(verb, queue, sentence, len(ids), True, {**fields, "count": str(len(ids))}, command)


def carry_out(database: Shared, verb: str, given: Mapping[str, str]) -> Done:
    """Does it.

    Raises:
        QctlError: no reason was given (2), it is no longer what was agreed to (2), this role may not (4).
    """
    queue, reason = given.get("queue", ""), given.get("reason", "").strip()
    if verb in ("replay", "discard", "pause") and not reason:
        raise UsageError("a reason is needed: it is kept in the audit")

    def deed(connection: db.Connection) -> Done:
        match verb:
            case "pause":
                changed = queues.pause(connection, queue, reason).changed
                return Done(f"Queue {queue} is paused." if changed else f"Queue {queue} was paused already.", queue, {})
            case "resume":
                changed = queues.resume(connection, queue).changed
                return Done(
                    f"Queue {queue} delivers again." if changed else f"Queue {queue} was not paused.", queue, {}
                )
            case "test":
                msg_id = test_event.send(connection, queue, None)
                return Done(f"Test event {queue}/{msg_id} is queued.", queue, {})
            case _:
                return _on_messages(connection, verb, given, reason)

    return database.act(deed)


def _on_messages(connection: db.Connection, verb: str, given: Mapping[str, str], reason: str) -> Done:
    ids, queue = _chosen(connection, verb, given), given.get("queue", "")
    if str(len(ids)) != given.get("count"):
        raise UsageError(
            f"it is {len(ids):,} messages now and was {given.get('count')}", hint="look again, and agree again"
        )
    act = messages.replay if verb == "replay" else messages.discard
    outcomes: dict[str, int] = {}
    for row in act(connection, queue, ids, reason):
        outcomes[row.outcome] = outcomes.get(row.outcome, 0) + 1
    said = ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in sorted(outcomes.items()))
    return Done(f"{said}." if said else "Nothing was to be done.", queue, outcomes)


def _chosen(connection: db.Connection, verb: str, given: Mapping[str, str]) -> list[int]:
    """The messages that were named, or those of a group of dead letters."""
    queue = given.get("queue", "")
    pages.require_queue(connection, queue)
    if ids := given.get("ids", "").replace(",", " ").split():
        if not all(one.isdecimal() and len(one) < 19 for one in ids):
            raise UsageError("the ids are not numbers")
        found = messages.states(connection, queue, [int(one) for one in ids[:_MOST]])
        if not found:
            raise UsageError(f"queue {queue} knows none of these messages")
        return sorted(found)
    if verb != "replay" or "reason_group" not in given:
        raise UsageError("no message was chosen")
    which = messages.Filter(states=["dead"])
    status = given.get("status", "")
    rows: list[Any] = []
    for row in messages.listed(connection, [queue], which, page=1000):
        if row.reason == given["reason_group"] and str(row.status_code or "") == status:
            rows.append(row.msg_id)
        if len(rows) >= _MOST:
            break
    return sorted(rows)
