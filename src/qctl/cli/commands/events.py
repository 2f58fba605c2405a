"""The command that says where operational events go: events."""

from typing import Annotated

import typer

from qctl.cli import completers, options
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.operations import events
from qctl.output import Column, render
from qctl.output.columns import instant, seconds, yes_no


def command(
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Send events into this queue.", metavar="QUEUE", autocompletion=completers.queue_names
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Send events to this URL, by a signed queue of their own.", metavar="URL"),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Send events nowhere.")] = False,
    throttle: Annotated[
        str | None,
        typer.Option(
            "--throttle",
            help="Shortest time between two events of a kind about one queue (default 10m).",
            metavar="DURATION",
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="Format of events: qctl (the default), cloudevents, slack or discord.", metavar="FORMAT"
        ),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Set where operational events go; without an option, show it.

    breaker.opened, breaker.closed, queue.paused, message.dead (the first in an hour), worker.gone, database.disarmed: each is
    a message like any other, delivered, retried and signed by the settings of its queue. Events about that queue are not sent.

    --format slack or discord makes a line of text that their incoming webhooks take.

    Example: qctl events --url https://ops.example.com/hooks/qctl
    """
    if sum(map(bool, (to, url, off))) > 1:
        raise UsageError("--to, --url and --off exclude each other")
    throttle_s = None if throttle is None else round(options.duration(throttle))
    columns = [
        Column("queue_name", "queue"),
        Column("throttle_s", "at most one in", seconds, right=True),
        Column("format", "format"),
    ]
    if not (to or url or off):
        if throttle is not None or format_ is not None:
            name, value = ("--throttle", "1h") if throttle is not None else ("--format", "slack")
            raise UsageError(f"{name} needs --to or --url", hint=f"qctl events --to QUEUE {name} {value}")
        with session(dsn, profile, "events") as connection:
            here = events.route(connection)
        if here is None:
            say("events go nowhere: qctl events --url URL")
        else:
            render([here], [*columns, Column("url", "url"), Column("set_at", "since", instant)], output)
        return
    with session(dsn, profile, "events", changes=True) as connection:
        if url:
            row = events.set_url(connection, url, throttle_s, format_)
        else:
            row = events.set_route(connection, None if off else to, throttle_s, format_)
    columns.append(Column("changed", "changed", yes_no))
    if row.secret is not None:
        columns.append(Column("secret", "signing secret, shown only now", fold=True))
        say("copy the secret now and give it to the receiver; it is not shown again")
    render([row], columns, output)
    if row.queue_name is not None:
        say(f"Next: qctl pause -q QUEUE && qctl resume -q QUEUE sends a first event; qctl status -q {row.queue_name}")
