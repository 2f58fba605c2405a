"""The command that says where operational events go: events."""

from typing import Annotated

import typer

from qctl import events
from qctl.cli import completing, options
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.output import Column, render
from qctl.output.columns import instant, seconds, yes_no


def events_(
    to: Annotated[
        str | None,
        typer.Option("--to", help="Into this queue.", metavar="QUEUE", autocompletion=completing.queue_names),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="To this URL, by a signed queue of their own.", metavar="URL")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Nowhere.")] = False,
    throttle: Annotated[
        str | None,
        typer.Option(
            "--throttle", help="Of a kind about one queue at most one in this time; 10m at first.", metavar="DURATION"
        ),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Say where operational events go; without an option, show it.

    breaker.opened, breaker.closed, queue.paused, message.dead (the first in an hour), worker.gone, database.disarmed: each a
    message like any other, delivered, retried and signed as its queue says. What happens to that queue itself is not told.

    Example: qctl events --url https://ops.example.com/hooks/qctl
    """
    if sum(map(bool, (to, url, off))) > 1:
        raise UsageError("one of --to, --url and --off")
    throttle_s = None if throttle is None else round(options.duration(throttle))
    columns = [Column("queue_name", "queue"), Column("throttle_s", "at most one in", seconds, right=True)]
    if not (to or url or off):
        if throttle is not None:
            raise UsageError("--throttle of what? Name the queue, too", hint="qctl events --to QUEUE --throttle 1h")
        with session(dsn, profile, "events") as connection:
            here = events.route(connection)
        if here is None:
            say("events go nowhere: qctl events --url URL")
        else:
            render([here], [*columns, Column("url", "url"), Column("set_at", "since", instant)], output)
        return
    with session(dsn, profile, "events", changes=True) as connection:
        if url:
            row = events.set_url(connection, url, throttle_s)
        else:
            row = events.set_route(connection, None if off else to, throttle_s)
    columns.append(Column("changed", "changed", yes_no))
    if row.secret is not None:
        columns.append(Column("secret", "signed with: shown this once", fold=True))
        say("keep the secret now and give it to the receiver; it is not shown again")
    render([row], columns, output)
    if row.queue_name is not None:
        say(f"Next: qctl pause -q QUEUE && qctl resume -q QUEUE sends a first one; qctl status -q {row.queue_name}")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("events", rich_help_panel="Set up")(events_)
