"""What can be done from a page: first what it would do, then, with a reason, the deed."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from qctl import db
from qctl.errors import UsageError
from qctl.operations import messages, queues, test_event
from qctl.web import pages
from qctl.web.database import Shared

VERBS = ("replay", "discard", "pause", "resume", "test")
_MOST = 10_000
# So many ids are shown as a command.
_MOST_TYPED = 100
# How a form says which messages it is about, besides by the filters of the page of messages.
_CHOOSING = ("queue", "ids", "group", "reason_group", "status")


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done: asked before it is."""

    verb: str
    queue: str
    sentence: str
    count: int
    needs_reason: bool
    fields: dict[str, str]
    command: str | None
    partly: bool = False


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
    chosen = database.ask(("chosen", verb, *sorted(given.items())), lambda connection: _choose(connection, verb, given))
    ids = chosen.ids
    word = "delivered again" if verb == "replay" else "discarded and become dead letters"
    number = f"The newest {len(ids):,} messages (there are more)" if chosen.more else _counted(len(ids))
    fields = {name: given[name] for name in (*_CHOOSING, *pages.asked_for({})) if given.get(name)}
    command = chosen.command or f"qctl {verb} " + " ".join(f"{queue}/{msg_id}" for msg_id in ids)
    return Planned(
        verb, queue, f"{number} of {queue} will be {word}.", len(ids), True, {**fields, "count": str(len(ids))},
        command if len(ids) <= _MOST_TYPED or chosen.command else None, chosen.more,
    )  # fmt: skip


def _counted(count: int) -> str:
    return f"{count:,} {'message' if count == 1 else 'messages'}"


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
    chosen, queue = _choose(connection, verb, given), given.get("queue", "")
    if str(len(chosen.ids)) != given.get("count"):
        raise UsageError(
            f"it is {_counted(len(chosen.ids))} now and was {given.get('count', '')[:20]}",
            hint="look again, and agree again",
        )
    act = messages.replay if verb == "replay" else messages.discard
    outcomes: dict[str, int] = {}
    for row in act(connection, queue, chosen.ids, reason, seen=chosen.seen):
        outcomes[row.outcome] = outcomes.get(row.outcome, 0) + 1
    said = ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in sorted(outcomes.items()))
    return Done(f"{said}." if said else "Nothing was to be done.", queue, outcomes)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Messages of one queue, how they were, and the command that chooses the same ones if there is one."""

    ids: list[int]
    seen: messages.Seen | None = None
    more: bool = False
    command: str | None = None


def _choose(connection: db.Connection, verb: str, given: Mapping[str, str]) -> _Chosen:
    """The messages that were named, those of a group of dead letters, or those that the filters of a page find."""
    queue = given.get("queue", "")
    pages.require_queue(connection, queue)
    if ids := given.get("ids", "").replace(",", " ").split():
        if not all(one.isdecimal() and len(one) < 19 for one in ids):
            raise UsageError("the ids are not numbers")
        found = messages.states(connection, queue, [int(one) for one in ids[:_MOST]])
        if not found:
            raise UsageError(f"queue {queue} knows none of these messages")
        return _Chosen(sorted(found))
    asked = pages.asked_for(given)
    which = pages.filter_of(asked)
    group = given.get("group") and (given.get("reason_group"), given.get("status", ""))
    if group:
        which = messages.Filter(states=["dead"])
    elif which == messages.Filter():
        raise UsageError("no message was chosen", hint="a state, or another filter")
    found = (
        row for row in messages.listed(connection, [queue], which, page=1000)
        if not group or (row.reason, str(row.status_code or "")) == group
    )  # fmt: skip
    rows = sorted(islice(found, _MOST + 1), key=lambda row: row.msg_id, reverse=True)
    taken = sorted(rows[:_MOST], key=lambda row: row.msg_id)
    seen = messages.Seen([row.state for row in taken], [row.delivery_no for row in taken])
    command = None if group else pages.as_command(verb, asked)
    return _Chosen([row.msg_id for row in taken], seen, len(rows) > _MOST, command)
