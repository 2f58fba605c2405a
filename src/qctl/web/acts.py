"""What can be done from a page: first what it would do, then, with a reason, just that."""

import secrets
import shlex
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from qctl import db
from qctl.errors import NotFoundError, UsageError
from qctl.operations import messages, queues, test_event
from qctl.web import pages
from qctl.web.database import Shared

VERBS = ("replay", "discard", "pause", "resume", "test")
_MOST = 10_000
# So many ids are shown as a command.
_MOST_TYPED = 100
_LONGEST_REASON = 500
_PLANS = 50
_PLAN_S = 1800.0
_FINISHED = ("delivered", "dead", "archived")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Messages of one queue, how they were, and the command that chooses the same ones if there is one."""

    ids: list[int]
    seen: messages.Seen
    more: bool = False
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done: asked before it is.

    ``chosen`` is None where it is about the queue; ``count`` is 0 where there is nothing to do.
    """

    verb: str
    queue: str
    created_at: datetime
    sentences: list[str]
    count: int
    needs_reason: bool
    command: str | None
    chosen: Chosen | None = None
    partly: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What the database says it did; ``state`` is where the messages are now."""

    sentence: str
    queue: str
    state: str | None = None


@dataclass(slots=True)
class Agreements:
    """What has been shown and not been done, and what was done, each under a name of its own that is used once."""

    _kept: dict[str, tuple[float, Planned | Done]] = field(default_factory=dict[str, tuple[float, Planned | Done]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, what: Planned | Done) -> str:
        """A new name for it."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            now = time.monotonic()
            held = [(key, kept) for key, kept in self._kept.items() if kept[0] > now]
            self._kept = dict(held[-_PLANS + 1 :])
            self._kept[name] = (now + _PLAN_S, what)
        return name

    def take(self, name: str, verb: str) -> Planned:
        """What was shown under that name, for that verb; never again.

        Raises:
            UsageError: it was done already, or is too old.
        """
        with self._lock:
            kept = self._kept.pop(name, None)
        if kept is None or not isinstance(kept[1], Planned) or kept[1].verb != verb or kept[0] < time.monotonic():
            raise UsageError("this was done already, or was shown too long ago", hint="look at it again")
        return kept[1]

    def done(self, name: str) -> Done:
        """What was done.

        Raises:
            NotFoundError: there is no such thing any more.
        """
        kept = self._kept.get(name)
        if kept is None or not isinstance(kept[1], Done):
            raise NotFoundError("what was done is not remembered any more", hint="its message or queue tells it")
        return kept[1]


def plan(database: Shared, verb: str, given: Mapping[str, str]) -> Planned:
    """What an act would do, counted.

    Raises:
        QctlError: no such queue or message (6), nothing was chosen (2).
    """
    queue = given.get("queue", "")
    if "\0" in queue:
        raise NotFoundError("there is no such queue")

    def ask(connection: db.Connection) -> Planned:
        created_at = queues.described(connection, queue).created_at
        if verb in ("replay", "discard"):
            return _for_messages(connection, verb, queue, created_at, given)
        sentences = _for_queue(connection, verb, queue)
        return Planned(verb, queue, created_at, sentences, 1, verb == "pause", f"qctl {verb} -q {shlex.quote(queue)}")

    return database.fresh(ask, slow=True)


def carry_out(database: Shared, planned: Planned, reason: str) -> Done:
    """Does what was planned, to the messages that it was planned for; what changed meanwhile is left alone.

    Raises:
        QctlError: no reason was given (2), the queue is another one now (6), this role may not (4).
    """
    reason = reason.replace("\0", "").strip()
    if planned.needs_reason and not reason:
        raise UsageError("a reason is needed: it is kept in the audit")
    if len(reason) > _LONGEST_REASON:
        raise UsageError(f"the reason is longer than {_LONGEST_REASON} characters")

    def check(connection: db.Connection) -> None:
        if queues.described(connection, planned.queue).created_at != planned.created_at:
            raise NotFoundError(f"queue {planned.queue} was dropped and made anew meanwhile", hint="look at it again")

    def deed(connection: db.Connection) -> Done:
        queue = planned.queue
        match planned.verb:
            case "pause":
                changed = queues.pause(connection, queue, reason).changed
                return Done(f"Queue {queue} is paused." if changed else f"Queue {queue} was paused already.", queue)
            case "resume":
                changed = queues.resume(connection, queue).changed
                return Done(f"Queue {queue} delivers again." if changed else f"Queue {queue} was not paused.", queue)
            case "test":
                msg_id = test_event.send(connection, queue, None)
                return Done(f"Test event {queue}/{msg_id} is queued.", queue)
            case _:
                return _on_messages(connection, planned, reason)

    return database.act(check, deed)


def _on_messages(connection: db.Connection, planned: Planned, reason: str) -> Done:
    chosen = planned.chosen
    if chosen is None or not chosen.ids:
        raise UsageError("no message was chosen")
    act = messages.replay if planned.verb == "replay" else messages.discard
    outcomes = Counter(row.outcome for row in act(connection, planned.queue, chosen.ids, reason, seen=chosen.seen))
    said = [
        f"{count:,} {_OUTCOMES.get(outcome, outcome.replace('_', ' '))}" for outcome, count in sorted(outcomes.items())
    ]
    return Done(f"{', '.join(said)}.", planned.queue, "dead" if planned.verb == "discard" else None)


_OUTCOMES = {
    "replayed": "queued again",
    "due_now": "due now",
    "in_flight": "under way, left alone",
    "ready": "ready already",
    "finished": "finished already, left alone",
    "unknown": "not there any more",
    "changed": "changed meanwhile, left alone",
}


def _for_queue(connection: db.Connection, verb: str, queue: str) -> list[str]:
    status = queues.statuses(connection, queue)[0]
    waiting = f"{'at least ' if status.depth_exact is False else ''}{_counted(status.depth or 0)}"
    match verb:
        case "pause":
            return [f"Queue {queue} will be paused: its messages wait, and new ones are captured all the same."]
        case "resume":
            why = [
                f"It was paused by {status.paused_by or 'somebody'}: {status.pause_reason or 'no reason was given'}."
            ]
            return [
                f"Queue {queue} will deliver again; {waiting} will go out as fast as its settings allow.",
                *(why if status.paused_at else []),
            ]
        case _:
            return [f"A test event will be sent to the endpoint of {queue}."]


def _for_messages(
    connection: db.Connection, verb: str, queue: str, created_at: datetime, given: Mapping[str, str]
) -> Planned:
    chosen = _choose(connection, verb, queue, given)
    states = Counter(state or "" for state in chosen.seen.states)
    finished = sum(states[state] for state in _FINISHED)
    sentences: list[str] = []
    if verb == "discard":
        count = len(chosen.ids) - finished
        if count:
            sentences.append(
                f"{_counted(count)} of {queue} will be given up: no longer delivered, kept as dead letters."
            )
        if finished:
            sentences.append(f"Left alone, because delivered or dead already: {_counted(finished)}.")
    else:
        waiting = states["retrying"] + states["delayed"]
        left = states["ready"] + states["in_flight"]
        count = len(chosen.ids) - left
        undelivered = states["dead"] + states["archived"]
        if undelivered:
            sentences.append(f"{_counted(undelivered)} of {queue}, not delivered so far, will be tried again.")
        if waiting:
            sentences.append(f"{_counted(waiting)} of {queue}, waiting for a later attempt, will be tried now.")
        if states["delivered"]:
            sentences.append(f"{_counted(states['delivered'])} of {queue}, delivered already, will be sent once more.")
        if left:
            sentences.append(f"Left alone, because ready or under way already: {_counted(left)}.")
    if chosen.more:
        sentences.append(f"These are the newest {_MOST:,}; there are more.")
    if not count:
        sentences.append("So there is nothing to do.")
    named = " ".join(f"{queue}/{msg_id}" for msg_id in chosen.ids)
    command = chosen.command or (f"qctl {verb} {named}" if 0 < len(chosen.ids) <= _MOST_TYPED else None)
    return Planned(verb, queue, created_at, sentences, count, True, command, chosen, chosen.more)


def _counted(count: int) -> str:
    return f"{count:,} {'message' if count == 1 else 'messages'}"


def _choose(connection: db.Connection, verb: str, queue: str, given: Mapping[str, str]) -> Chosen:
    """The messages that were named, those of a group of dead letters, or those that the filters of a page find."""
    which, group, command = messages.Filter(states=["dead"]), None, None
    if ids := given.get("ids", "").replace(",", " ").split():
        if not all(one.isdecimal() and len(one) < 19 for one in ids):
            raise UsageError("the ids are not numbers")
        rows = messages.standings(connection, queue, [int(one) for one in ids[:_MOST]])
        if not rows:
            raise NotFoundError(f"queue {queue} knows none of these messages")
    else:
        if given.get("group"):
            group = (given.get("reason_group"), given.get("status", ""))
        else:
            asked = pages.asked_for(given)
            which, command = pages.filter_of(asked), pages.as_command(verb, asked)
            if which == messages.Filter():
                raise UsageError("no message was chosen", hint="choose a state, or another filter")
        listed = messages.listed(connection, [queue], which, page=1000)
        matching = (row for row in listed if not group or (row.reason, _text(row.status_code)) == group)
        rows = [(row.msg_id, row.state, row.delivery_no) for row in islice(matching, _MOST + 1)]
    taken = sorted(rows[:_MOST])
    seen = messages.Seen([state for _, state, _ in taken], [delivery_no for *_, delivery_no in taken])
    return Chosen([msg_id for msg_id, *_ in taken], seen, len(rows) > _MOST, command)


def _text(status_code: int | None) -> str:
    return "" if status_code is None else str(status_code)
