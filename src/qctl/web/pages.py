"""What each page shows: asked of the operations that the command line asks."""

import shlex
from collections.abc import Mapping
from itertools import islice
from typing import Any

from qctl import db
from qctl.errors import ExitCode, NotFoundError, QctlError, UsageError
from qctl.operations import attachments, attempts, backfill, criteria, health
from qctl.operations import messages as finding
from qctl.operations import queues as known
from qctl.web.database import Shared

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
            "findings": health.findings(connection, None, health.NO_LIMITS),
            "backfills": backfill.runs(connection, None, unfinished=True),
        }

    return {**database.ask("queues", ask), "command": "qctl status"}


def queue(database: Shared, _given: Arguments, name: str) -> dict[str, Any]:
    """One queue."""

    def ask(connection: db.Connection) -> dict[str, Any]:
        row = known.described(connection, name)
        return {
            "queue": row,
            "status": known.statuses(connection, name)[0],
            "hour": next(iter(known.hours(connection, name)), None),
            "answers": known.answers(connection, name),
            "findings": health.findings(connection, name, health.NO_LIMITS),
            "attachments": attachments.listed(connection, name),
        }

    return {**database.ask(("queue", name), ask), "command": f"qctl describe {shlex.quote(name)}"}


def messages(database: Shared, given: Arguments) -> dict[str, Any]:
    """Messages, newest first, by the filters of ``qctl messages``; pages by the id."""
    asked = asked_for(given)
    before = given.get("before", "")
    if before and not (before.isdecimal() and len(before) < 19):
        raise UsageError("the page is not a number")
    which = filter_of(asked)

    def ask(connection: db.Connection) -> dict[str, Any]:
        names = known.some(connection, asked["queue"] or None)
        first = int(before) if before else None
        found = finding.listed(connection, names, which, before_id=first, page=_PAGE + 1) if names else iter(())
        rows = list(islice(found, _PAGE + 1))
        listed = [row.queue_name for row in known.listed(connection)]
        return {"rows": rows[:_PAGE], "more": len(rows) > _PAGE, "names": listed}

    return {
        **database.ask(("messages", *asked.values(), before), ask),
        "asked": asked,
        "states": _STATES,
        "command": as_command("messages", asked),
        "filtered": which != finding.Filter(),
        "can_page": bool(asked["queue"]) and not which.by_attempt,
    }


def asked_for(given: Arguments) -> dict[str, str]:
    """The filters of a form or an address, each there, empty where nothing was said."""
    return {name: given.get(name, "").replace("\0", "").strip() for name in _FILTERS}


def as_command(verb: str, asked: dict[str, str]) -> str:
    """The command with the options that these filters are."""
    # What begins with a dash would be taken for an option of its own.
    options = (
        f"{option}{'=' if asked[name].startswith('-') else ' '}{shlex.quote(asked[name])}"
        for name, option in _FILTERS.items() if asked[name]
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
        found: dict[str, Any] = {
            "message": finding.get(connection, name, msg_id),
            "life": finding.life(connection, name, msg_id),
            "attempts": attempts.of_message(connection, name, msg_id),
            "payload": None,
            "withheld": None,
        }
        if wanted:
            try:
                found["payload"] = finding.payloads(connection, name, [msg_id]).get(msg_id)
            except QctlError as error:
                if error.code is not ExitCode.SERVER_UNFIT:
                    raise
                found["withheld"] = error
        return found

    command = f"qctl show {shlex.quote(f'{name}/{msg_id}')}" + (" --payload" if wanted else "")
    return {**database.ask(("message", name, msg_id, wanted), ask), "wanted": wanted, "command": command}


def dead(database: Shared, _given: Arguments) -> dict[str, Any]:
    """Dead letters by reason and status."""
    return {"groups": database.ask("dead", lambda connection: finding.dead(connection, None)), "command": "qctl dead"}


def workers(database: Shared, _given: Arguments) -> dict[str, Any]:
    """Workers, and jobs of pg_cron."""
    return {"workers": database.ask("workers", known.workers), "command": "qctl status --workers"}


def doctor(database: Shared, _given: Arguments) -> dict[str, Any]:
    """All that is wrong or will be."""
    order = ("broken", "warning", "note")
    found = database.ask("doctor", lambda connection: health.diagnose(connection, None))
    return {"findings": sorted(found, key=lambda row: order.index(row.severity)), "command": "qctl doctor"}


def require_queue(connection: db.Connection, name: str) -> None:
    """Refuses a queue that is unknown."""
    if all(row.queue_name != name for row in known.listed(connection)):
        raise NotFoundError(f"queue '{name[:60]}' not found")
