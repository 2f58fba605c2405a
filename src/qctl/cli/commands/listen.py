"""Webhooks on this machine: listen."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from qctl import config, db, models
from qctl.cli import endless, options, secret_source, selection
from qctl.cli.console import say
from qctl.cli.event_lines import Lines, open_payload
from qctl.cli.session import session, session_again
from qctl.errors import CannotConnectError, ExitCode, QctlError, UsageError
from qctl.listening import endpoint, forwarder, signature
from qctl.operations import copies, criteria, messages, queues
from qctl.output import Format
from qctl.output.columns import zone

if TYPE_CHECKING:
    from qctl.operations.copies import Copies

_POLL_S = 0.2
_KEYS = "p pauses, r sends the last one again, o opens its payload, q ends"


def command(
    queue: options.Queue = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Forward live copies of a queue's messages to this URL on this machine.", metavar="URL"
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", help="Without --to: the port to listen on (default 8700); 0 takes a free one.", min=0, max=65535
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option("--secret", help="Without --to: verify signatures with this secret.", metavar="-|@FILE|env:NAME"),
    ] = None,
    fail: Annotated[
        str | None, typer.Option("--fail", help="Without --to: fail this share of the requests.", metavar="30%")
    ] = None,
    status: Annotated[
        int | None,
        typer.Option("--status", help="With --fail: the status of those answers (default 500).", min=300, max=599),
    ] = None,
    delay: Annotated[
        str | None, typer.Option("--delay", help="Without --to: answer after so long.", metavar="DURATION")
    ] = None,
    replay: Annotated[
        list[str] | None,
        typer.Option("--replay", help="With --to: forward this message and end; may be repeated.", metavar="MSG_ID"),
    ] = None,
    state: selection.State = None,
    since: selection.Since = None,
    until: selection.Until = None,
    captured_since: selection.CapturedSince = None,
    status_code: selection.StatusCode = None,
    error: selection.ErrorText = None,
    where: selection.Where = None,
    once: Annotated[bool, typer.Option("--once", help="With a filter: forward what it finds and end.")] = False,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Forward to another machine.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Try webhooks on this machine.

    Without --to it is an endpoint that takes every request, verifies its signature if --secret says with what, and shows it;
    --fail, --status and --delay make it misbehave. Point a queue at it: qctl create trial --url http://127.0.0.1:8700/
    --allow-private.

    With --to it forwards live copies of a queue's messages as they would be sent, signed with a secret of its own that it shows,
    without headers that are secret. Nothing is taken from the queue and no attempt is made of it. Filters choose messages of
    before, which go first; --where also chooses among those that come. It refuses to send where a queue delivers. On a
    terminal p pauses, r sends the last one again, o opens its payload, q ends. In a pipe each event is a line of JSON.

    Example: qctl listen -q orders --to http://localhost:3000/hook
    """
    which = criteria.read(
        state=state,
        since=since,
        until=until,
        captured_since=captured_since,
        status_code=status_code,
        error=error,
        where=where,
    )
    if to is None:
        # A queue that is only the default one of this shell was not asked for.
        if (queue and queue != config.default_queue()) or replay or which or once or allow_remote:
            raise UsageError(
                "a queue and filters need --to", hint="qctl listen -q QUEUE --to http://localhost:3000/hook"
            )
        if status is not None and fail is None:
            raise UsageError("--status needs --fail", hint=f"--fail 30% --status {status}")
        _listen(8700 if port is None else port, _behaviour(secret, fail, status or 500, delay), output)
        return
    if any(given is not None for given in (secret, fail, delay, status, port)):
        raise UsageError("--port, --secret, --fail, --status and --delay are of the endpoint, without --to")
    if replay and which:
        raise UsageError("--replay and filters exclude each other")
    if once and not which:
        raise UsageError("--once needs a filter", hint="for example --captured-since 1h --once")
    # Alone --where chooses among what comes.
    only_live = not once and not any((state, since, until, captured_since, status_code, error))
    with ExitStack() as lasting, ExitStack() as stack:
        connection = stack.enter_context(session(dsn, profile, "listen"))
        urls = {row.queue_name: row.url for row in queues.listed(connection)}
        forwarder.refuse_production(to, urls, allow_remote=allow_remote)
        name = queues.the_one(connection, queue) if not replay else None
        # Before those of before are looked for, so that none falls between.
        live = None if replay or once or name is None else copies.Copies(connection, name, where)
        name, past = _past(connection, queue, replay, None if only_live else which)
        if live is not None:
            past = [one for one in past if one <= live.newest]
        made = signature.new_secret()
        say(f"copies of {name} go to {forwarder.shown(to)}; the queue is left as it is")
        say(f"signed with {made}")
        if live is not None and not queues.described(connection, name).archive:
            say(
                "the queue keeps no archive: what is delivered between two looks, or while this is paused, is not forwarded"
            )
        sending = forwarder.Forwarder(name, to, made)
        sending.start()
        lasting.callback(sending.close)

        def again() -> "db.Connection":
            return session_again(stack, dsn, profile, "listen", wait=endless.wait)

        _forward(connection, sending, _Past(name, past), live, again, output)


def _behaviour(secret: str | None, fail: str | None, status: int, delay: str | None) -> "endpoint.Behaviour":
    key = None
    if secret is not None:
        key = signature.key_of(secret_source.read(secret, "signing secret", "give - for stdin, @FILE or env:NAME"))
    return endpoint.Behaviour(
        0.0 if fail is None else options.share(fail), status, 0.0 if delay is None else options.duration(delay), key
    )


def _listen(port: int, behaviour: "endpoint.Behaviour", output: Format | None) -> None:
    server = endpoint.Endpoint(port, behaviour)
    server.start()
    verified = "signatures are verified" if behaviour.key else "signatures are not verified: --secret"
    say(f"listening on {server.url}; {verified}")
    if config.stderr_is_terminal():
        say(f"Next: qctl create trial --url {server.url} --allow-private")
    lines = Lines(output)
    last: endpoint.Arrival | None = None
    with endless.keys() as keys:
        if config.stderr_is_terminal():
            say(f"times are {zone()}; {'o opens the last payload, q ends' if keys.are_read else 'Ctrl-C to end'}")
        while True:
            endless.wait(0)
            came = server.get(0.2)
            if came is None:
                lines.flush()
            else:
                last = came
                lines.came(came)
            match keys.pressed():
                case "o" if last is not None:
                    open_payload(last.body.decode("utf-8", "replace"))
                case "q":
                    return
                case _:
                    pass


def _past(
    connection: "db.Connection", queue: str | None, replay: list[str] | None, which: "messages.Filter | None"
) -> tuple[str, list[int]]:
    """The queue, and messages of before."""
    if not replay and which is None:
        return queues.the_one(connection, queue), []
    found = selection.choose(connection, replay, queue if replay else queues.the_one(connection, queue), which)
    if found.unknown:
        raise QctlError(f"message {found.unknown[0]} is unknown", code=ExitCode.NOT_FOUND, hint="qctl messages")
    if len(found.by_queue) > 1:
        raise UsageError(f"these are messages of {' and '.join(found.by_queue)}", hint="-q QUEUE")
    return next(iter(found.by_queue.items())) if found.by_queue else (queues.the_one(connection, queue), [])


class _Past:
    """Messages of before, which are read as there is room for them; ``found`` counts those that are there."""

    def __init__(self, queue: str, ids: list[int]) -> None:
        self._queue = queue
        self._ids = sorted(ids)
        self.asked = len(ids)
        self.found = 0

    def take(self, connection: "db.Connection") -> "list[models.Copy]":
        ids = self._ids[: copies.BATCH // 10]
        rows = list(copies.chosen(connection, self._queue, ids)) if ids else []
        # Only now: a connection that is lost on the way loses none of them.
        self._ids = self._ids[len(ids) :]
        self.found += len(rows)
        return rows

    def __bool__(self) -> bool:
        return bool(self._ids)


def _forward(
    connection: "db.Connection",
    sending: "forwarder.Forwarder",
    past: _Past,
    live: "Copies | None",
    again: "Callable[[], db.Connection]",
    output: Format | None,
) -> None:
    lines = Lines(output)
    last: forwarder.Forwarded | None = None
    paused, due, failed, sent, given_up = False, 0.0, 0, 0, 0
    with endless.keys() as keys:
        if config.stderr_is_terminal():
            say(f"times are {zone()}; {_KEYS if keys.are_read else 'Ctrl-C to end'}")
        while live is not None or past or sending.waiting:
            endless.wait(0)
            match keys.pressed():
                case "p":
                    paused = not paused
                    say("paused: what comes waits in the database" if paused else "going on")
                case "r" if last is not None:
                    sending.send([last.copy])
                case "o" if last is not None:
                    open_payload(last.copy.body or "")
                case "q":
                    break
                case _:
                    pass
            if not paused and sending.has_room and (past or time.monotonic() >= due):
                try:
                    batch = past.take(connection) if past else live.take() if live is not None else []
                except CannotConnectError as error:
                    say(f"{error.message}; trying again")
                    connection = again()
                    if live is not None:
                        live.on(connection)
                    say("connected again")
                    continue
                sending.send(batch)
                due = time.monotonic() + (0.01 if batch else _POLL_S)
                if live is not None and live.given_up > given_up:
                    given_up = live.given_up
                    say(
                        f"{given_up:,} ids are missing below newer ones; what is committed of them late is not forwarded"
                    )
            for one in sending.collect(0.05 if sending.waiting else 0.1):
                last = one
                sent += 1
                failed += one.status is None or not 200 <= one.status < 300
                lines.went(one)
            lines.flush()
    if live is None:
        if not past.asked:
            say("no message is like that")
        _judge(past, failed, sent, sending.waiting)


def _judge(past: _Past, failed: int, sent: int, waiting: int) -> None:
    """Says what did not arrive.

    Raises:
        QctlError: nothing was there to send (6), or some was not taken, is gone or was not waited for (9).
    """
    gone = past.asked - past.found if not past else 0
    if past.asked and not past.found and not past:
        raise QctlError("none of these messages is there", code=ExitCode.NOT_FOUND, hint="qctl messages")
    parts = [
        f"{failed:,} of {sent:,} copies were not taken" if failed else "",
        f"{gone:,} messages are not there" if gone else "",
        f"{waiting:,} were not waited for" if waiting or past else "",
    ]
    if any(parts):
        raise QctlError("; ".join(part for part in parts if part), code=ExitCode.PARTLY_DONE)
