"""What each page shows: asked of the operations that the command line asks."""

import json
import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from qctl import db, units
from qctl.errors import ExitCode, NotFoundError, QctlError, UsageError
from qctl.operations import attachments, attempts, backfill, health
from qctl.operations import messages as finding
from qctl.operations import queues as known
from qctl.web.database import Shared

Arguments = Mapping[str, str]

_PAGE = 50
# Each filter with the option that it is on the command line.
_FILTERS = {
    "queue": "-q", "state": "--state", "status_code": "--status-code", "error": "--error", "where": "--where",
    "since": "--since", "captured_since": "--captured-since",
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
            "findings": health.findings(connection, name, health.NO_LIMITS),
            "attachments": attachments.listed(connection, name),
        }

    return {**database.ask(("queue", name), ask), "command": f"qctl describe {shlex.quote(name)}"}


def messages(database: Shared, given: Arguments) -> dict[str, Any]:
    """Messages, newest first, by the filters of ``qctl messages``; pages by the id."""
    asked = {name: given.get(name, "").replace("\0", "").strip() for name in _FILTERS}
    before = given.get("before", "")
    if before and not (before.isdecimal() and len(before) < 19):
        raise UsageError("the page is not a number")
    which = _filter(asked)

    def ask(connection: db.Connection) -> dict[str, Any]:
        names = known.some(connection, asked["queue"] or None)
        first = int(before) if before else None
        found = finding.listed(connection, names, which, before_id=first, page=_PAGE) if names else iter(())
        rows = list(islice(found, _PAGE + 1))
        listed = [row.queue_name for row in known.listed(connection)]
        return {"rows": rows[:_PAGE], "more": len(rows) > _PAGE, "names": listed}

    options = (f"{option} {shlex.quote(asked[name])}" for name, option in _FILTERS.items() if asked[name])
    return {
        **database.ask(("messages", *asked.values(), before), ask),
        "asked": asked,
        "states": _STATES,
        "command": " ".join(["qctl messages", *options]),
        "can_page": bool(asked["queue"]) and not which.by_attempt,
    }


def _filter(asked: dict[str, str]) -> finding.Filter:
    state, code, where = asked["state"], asked["status_code"], asked["where"]
    if state and state not in _STATES:
        raise UsageError(f"'{state[:40]}' is not a state", hint=f"one of {', '.join(_STATES)}")
    if code and not re.fullmatch(r"[0-9xX]{3}", code):
        raise UsageError(f"'{code[:20]}' is not a status code", hint="for example 404, or 5xx")
    if where:
        try:
            json.loads(where)
        except (ValueError, RecursionError):
            raise UsageError(
                "what the payload contains is not JSON", hint='for example {"record": {"id": 7}}'
            ) from None
    # What no index covers is looked for in a day, unless a time was given.
    since = asked["since"] or ("1d" if asked["error"] or code else "")
    return finding.Filter(
        states=[state] if state else None,
        since=_since(since),
        captured_since=_since(asked["captured_since"] or ("1d" if where and not since else "")),
        status_codes=[code] if code else None,
        error=asked["error"] or None,
        where=where or None,
    )


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


def _since(text: str) -> datetime | None:
    if not text:
        return None
    ago_s = units.parse(text)
    if ago_s is None:
        raise UsageError(f"'{text[:40]}' is not a duration", hint="for example 15m, 12h or 7d")
    return datetime.now(UTC) - timedelta(seconds=ago_s)
