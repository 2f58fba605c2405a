"""What each page shows: asked of the operations that the command line asks."""

import shlex
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from qctl import db
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.operations import attachments, backfill, criteria, health
from qctl.operations import messages as finding
from qctl.operations import queues as known
from qctl.web.database import Shared
from qctl.web.text import pretty

Arguments = Mapping[str, str]

_PAGE = 50
# Each filter with the option that it is on the command line.
_FILTERS = {
    "queue": "-q", "state": "--state", "status_code": "--status-code", "error": "--error", "response": "--response",
    "not_response": "--not-response", "where": "--where", "since": "--since", "until": "--until",
    "captured_since": "--captured-since",
}  # fmt: skip
_STATES = ("ready", "delayed", "in_flight", "retrying", "delivered", "dead", "archived")


def queues(database: Shared, _given: Arguments) -> dict[str, Any]:
    """All queues, and what is wrong."""

    def ask(connection: db.Connection) -> dict[str, Any]:
        return {
            "statuses": known.statuses(connection, None),
            "hours": {hour.queue_name: hour for hour in known.hours(connection, None)},
            "outdated": health.outdated(connection, health.NO_LIMITS),
            "findings": health.findings(connection, None, health.NO_LIMITS),
            "backfills": backfill.runs(connection, None, unfinished=True),
        }

    return {**_asked(database, "queues", ask), "command": "qctl status"}


def queue(database: Shared, _given: Arguments, name: str) -> dict[str, Any]:
    """One queue."""

    def ask(connection: db.Connection) -> dict[str, Any]:
        row = known.described(connection, name)
        return {
            "queue": row,
            "status": known.statuses(connection, name)[0],
            "hour": next(iter(known.hours(connection, name)), None),
            "answers": known.answers(connection, name),
            "outdated": health.outdated(connection, health.NO_LIMITS),
            "findings": health.findings(connection, name, health.NO_LIMITS),
            "attachments": attachments.listed(connection, name),
        }

    return {**_asked(database, ("queue", name), ask), "command": f"qctl describe {shlex.quote(name)}"}


def messages(database: Shared, given: Arguments) -> dict[str, Any]:
    """Messages, newest first, by the filters of ``qctl messages``; pages by the last id, and by its last attempt."""
    problem = None
    try:
        asked = asked_for(given)
        which = filter_of(asked)
        before = _before(given, asked)
    except UsageError as error:
        problem, asked = error, {name: _typed(given.get(name, "")) for name in _FILTERS}
        which, before = finding.Filter(), (None, None)

    def ask(connection: db.Connection) -> dict[str, Any]:
        listed = [row.queue_name for row in known.listed(connection)]
        names = known.some(connection, asked["queue"] or None) if problem is None else []
        found = finding.listed(connection, names, which, before_id=before[0], before_at=before[1], page=_PAGE + 1)
        rows = list(islice(found, _PAGE + 1))
        return {"rows": rows[:_PAGE], "more": len(rows) > _PAGE, "names": listed}

    command = as_command("messages", asked if problem is None else {})
    key = ("messages", *asked.values(), *before, problem and problem.message)
    return {
        **_asked(database, key, ask, slow=which != finding.Filter()),
        "asked": asked,
        "problem": problem,
        "states": _STATES,
        "command": f"{command} --before {before[0]}" if before[0] and not which.by_attempt else command,
        "filtered": which != finding.Filter(),
        "by_attempt": which.by_attempt,
    }


def _before(given: Arguments, asked: dict[str, str]) -> tuple[int | None, datetime | None]:
    """Where a page of messages ends that the wanted one follows."""
    last, at = given.get("before", ""), given.get("before_at", "")
    if not last:
        return None, None
    if not asked["queue"]:
        raise UsageError("only the messages of one queue have pages", hint="choose a queue")
    try:
        found = (
            (int(last) if last.isdecimal() and len(last) < 19 else None),
            (datetime.fromisoformat(at) if at else None),
        )
    except ValueError:
        found = None, None
    if found[0] is None or (found[1] is not None and found[1].tzinfo is None):
        raise UsageError("there is no such page")
    return found


def asked_for(given: Arguments) -> dict[str, str]:
    """The filters of a form or an address, each there, empty where nothing was said.

    Raises:
        UsageError: one holds what cannot be typed; a command that was copied with it could do anything in a terminal.
    """
    asked = {name: given.get(name, "").strip() for name in _FILTERS}
    for text in asked.values():
        if not text.isprintable():
            raise UsageError("a filter holds a character that cannot be typed")
    return asked


def _typed(text: str) -> str:
    """What of a text can be typed."""
    return "".join(one for one in text if one.isprintable())


def as_command(verb: str, asked: dict[str, str]) -> str:
    """The command with the options that these filters are."""
    # What begins with a dash would be taken for an option of its own.
    options = (
        f"{option}{'=' if asked[name].startswith('-') else ' '}{shlex.quote(asked[name])}"
        for name, option in _FILTERS.items() if asked.get(name)
    )  # fmt: skip
    return " ".join([f"qctl {verb}", *options])


def filter_of(asked: dict[str, str]) -> finding.Filter:
    """What the filters of a page mean, as on the command line.

    Raises:
        UsageError: a state, a time, a status code or JSON that is not valid.
    """
    state = asked["state"]
    if state and state not in _STATES:
        raise UsageError(f"'{state[:40]}' is not a state", hint=f"one of {', '.join(_STATES)}")
    given = {name: text or None for name, text in asked.items()}
    found = criteria.read(
        state=[state] if state else None, status_code=[asked["status_code"]] if asked["status_code"] else None,
        error=given["error"], response=given["response"], not_response=given["not_response"], where=given["where"],
        since=given["since"], until=given["until"], captured_since=given["captured_since"],
    )  # fmt: skip
    return found or finding.Filter()


def message(database: Shared, given: Arguments, name: str, msg_id: int) -> dict[str, Any]:
    """One message: its life, and with ``payload`` what it carries, as far as this role may see it."""
    wanted = given.get("payload") == "yes"

    def ask(connection: db.Connection) -> dict[str, Any]:
        return {
            "message": finding.get(connection, name, msg_id),
            "life": finding.life(connection, name, msg_id),
        }

    command = f"qctl show {shlex.quote(f'{name}/{msg_id}')}" + (" --payload" if wanted else "")
    page = _asked(database, ("message", name, msg_id), ask)
    return {**page, "wanted": wanted, "command": command, **(_carried(database, name, msg_id) if wanted else _NOTHING)}


_NOTHING: dict[str, Any] = {"payload": None, "withheld": None}


def _carried(database: Shared, name: str, msg_id: int) -> dict[str, Any]:
    """Headers and payload as text, the beginning of a long one; not kept, because they may be large."""
    try:
        found = database.fresh(lambda connection: finding.payloads(connection, name, [msg_id])).get(msg_id)
    except QctlError as error:
        if error.code is not ExitCode.SERVER_UNFIT:
            raise
        return {**_NOTHING, "withheld": error}
    if found is None:
        return _NOTHING
    return {**_NOTHING, "payload": {"headers": found.headers and pretty(found.headers), "body": pretty(found.message)}}


def dead(database: Shared, _given: Arguments) -> dict[str, Any]:
    """Dead letters by reason and status."""

    def ask(connection: db.Connection) -> dict[str, Any]:
        waiting = [row for row in known.statuses(connection, None) if row.retrying]
        return {"groups": finding.dead(connection, None), "waiting": waiting}

    return {**_asked(database, "dead", ask, slow=True), "command": "qctl dead"}


def workers(database: Shared, _given: Arguments) -> dict[str, Any]:
    """Workers, and jobs of pg_cron."""
    return {
        **_asked(database, "workers", lambda connection: {"workers": known.workers(connection)}),
        "command": "qctl status --workers",
    }


def doctor(database: Shared, _given: Arguments) -> dict[str, Any]:
    """All that is wrong or will be."""
    order = ("broken", "warning", "note")

    def ask(connection: db.Connection) -> dict[str, Any]:
        found = health.diagnose(connection, None)
        return {
            "outdated": health.outdated(connection, health.NO_LIMITS),
            "findings": sorted(found, key=lambda row: order.index(row.severity)),
        }

    return {**_asked(database, "doctor", ask, slow=True), "command": "qctl doctor"}


def _asked(
    database: Shared, key: Hashable, question: Callable[[db.Connection], dict[str, Any]], *, slow: bool = False
) -> dict[str, Any]:
    """An answer with the time at which it was given."""
    return {**database.ask(key, question, slow=slow), "as_of": database.asked_at(key)}
