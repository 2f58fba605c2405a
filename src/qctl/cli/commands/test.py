"""Send a test event."""

import json
from typing import Annotated

import typer

from qctl.cli import options
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.operations import edge, health, queues, test_event
from qctl.output import Column, render
from qctl.output.columns import milliseconds, one_line


def command(
    queue: options.Queue = None,
    body: Annotated[
        str | None, typer.Option("--body", help="JSON value to send instead of a sample event.", metavar="JSON")
    ] = None,
    within: Annotated[str, typer.Option("--within", help="Time to wait for the answer.", metavar="DURATION")] = "90s",
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Send a test event the whole way: queue, worker, request, answer. Exit 8 if it is not delivered.

    The request has the header x-qctl-test: 1. There is one attempt; a test event that fails leaves no dead letter.

    Example: qctl test -q orders
    """
    within_s = options.duration(within)
    if body is not None:
        try:
            json.loads(body)
        except (json.JSONDecodeError, RecursionError):
            raise UsageError("--body is not JSON", hint="""for example '{"id": 7}'""") from None
    with session(dsn, profile, "test", changes=True) as connection:
        name = queues.the_one(connection, queue)
        url = queues.described(connection, name).url
        (now,) = queues.statuses(connection, name)
        # Health names the first cause only, which for a paused queue without a worker is no_worker.
        if now.health == "unarmed" or now.paused_at is not None:
            unarmed = now.health == "unarmed"
            armed = "leave a copy silent; where this is the database that is to deliver: qctl arm"
            raise QctlError(
                f"not sent: queue {name} is not delivering",
                detail=f"unarmed: {now.reason}" if unarmed else f"paused: {now.pause_reason or 'no reason was given'}",
                hint=armed if unarmed else f"qctl resume -q {name}",
                code=ExitCode.CHECK_FAILED,
            )
        msg_id = test_event.send(connection, name, body)
        try:
            say(f"sent {name}/{msg_id}; waiting for {url}")
            if (stop := health.delivery_stop(connection, name)) is not None:
                say(
                    f"nothing delivers it now: {stop.cause}: {one_line(stop.reason)}"
                    + (f"; {stop.fix}" if stop.fix else "")
                )
            attempt = test_event.answer(connection, name, msg_id, within_s)
        except KeyboardInterrupt:
            test_event.withdraw(connection, name, msg_id)
            raise
        if (attempt is None or attempt.outcome != "delivered") and not test_event.withdraw(connection, name, msg_id):
            attempt = test_event.answer(connection, name, msg_id, 0.0)
        stop = health.delivery_stop(connection, name)
        woken = edge.standing(connection) if attempt is None else None
    if attempt is None:
        say("the test event was withdrawn")
        raise QctlError(
            f"no answer within {within}",
            detail=f"{stop.cause}: {stop.reason}" if stop else None,
            hint=(stop.fix if stop else None) or ("qctl edge status" if woken == "known" else f"qctl status -q {name}"),
            code=ExitCode.CHECK_FAILED,
        )
    columns = [
        Column("msg_id", "message", right=True),
        Column("outcome", "outcome", lambda outcome: outcome if outcome == "delivered" else "failed"),
        Column("status_code", "status", right=True),
        Column("duration_ms", "took", milliseconds, right=True),
        Column("error", "error", one_line, fold=True),
        Column("response", "answer", one_line, cut=True),
        Column("worker", "worker", wide=True),
    ]
    render([attempt], columns, output)
    if attempt.outcome != "delivered":
        say("the test event was removed; only its attempt stays in the log")
        raise QctlError(
            f"not delivered: {attempt.error or f'HTTP {attempt.status_code}'}",
            detail=_detail(attempt.status_code),
            hint=stop.fix if stop and stop.fix else _hint(name, url, attempt.status_code),
            code=ExitCode.CHECK_FAILED,
        )


def _detail(status: int | None) -> str | None:
    if status is not None and 300 <= status < 400:
        return "a redirect is a failure, because the POST would become a GET"
    return None


def _hint(name: str, url: str, status: int | None) -> str:
    """What to look at after an answer that is a failure."""
    if status is None or status in (404, 405, 410):
        return f"check the URL {url}; to change it: qctl set -q {name} --url URL"
    if 300 <= status < 400:
        return f"qctl doctor -q {name} --probe shows where it leads"
    if status in (401, 403):
        return f"it refuses the credentials; compare them: qctl describe {name}"
    return "the endpoint's own log says why" if status >= 500 else "its answer says why it refused the event"
