"""Change a queue."""

from typing import Annotated, Any

import typer

from qctl import models
from qctl.cli import options, queue_notes
from qctl.cli.console import print_calls, say
from qctl.cli.queue_settings import with_settings
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.operations import capacity, edge, health, order_index, queues
from qctl.output import Column, render
from qctl.output.columns import rate, seconds

_COLUMNS = [
    Column("queue_name", "queue"),
    Column("transport", "transport"),
    Column("url", "url", cut=True),
    Column("timeout_ms", "timeout", lambda ms: seconds(ms / 1000), right=True),
    Column(
        "concurrency",
        "concurrency",
        right=True,
        wide=True,
        of=lambda q: "auto" if q.concurrency_auto else str(q.concurrency),
    ),
    Column("max_in_flight", "max in flight", right=True, wide=True),
    Column("rate_per_s", "rate", rate, right=True, wide=True),
    Column("retention_s", "kept", seconds, right=True, wide=True),
]


@with_settings
def command(
    settings: dict[str, Any],
    queue: options.Queue = None,
    url: Annotated[str | None, typer.Option("--url", help="The endpoint.", metavar="URL")] = None,
    header: options.Headers = None,
    no_header: Annotated[
        list[str] | None, typer.Option("--no-header", help="Stop sending this header; may be repeated.", metavar="NAME")
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Change a queue's endpoint or settings; what is not named stays.

    Example: qctl set -q orders --timeout 30s --concurrency 10
    """
    headers: dict[str, str | None] = {**options.open_headers(header), **dict.fromkeys(no_header or [])}
    if not (settings or headers or url):
        raise UsageError("nothing to change", hint="name a setting: qctl set --help")
    ordered: bool | None = settings.get("ordered")
    if sql:
        name = options.named_queue(queue)
        index = None if ordered is None else order_index.statement(name, wanted=ordered)
        if ordered:
            typer.echo(index)
        print_calls([queues.change(name, url, headers, settings)])
        if ordered is False:
            typer.echo(index)
        return
    with session(dsn, profile, "set", changes=True) as connection:
        name = queues.the_one(connection, queue)
        wanted = settings.get("transport")
        choice = (
            None
            if wanted is None
            else queues.transport(connection, wanted, url or queues.described(connection, name).url)
        )

        def alter() -> "models.Queue":
            return queues.alter(connection, name, url, headers, settings)

        row = order_index.ordering(connection, name, alter, say) if ordered else alter()
        if ordered is False:
            order_index.change(connection, name, wanted=False)
        scheduled = bool(capacity.jobs(connection))
        stop = health.delivery_stop(connection, name)
        by_http = choice is not None and choice.transport == "http" and not row.is_handed_over
        woken = edge.standing(connection) if by_http else None
    render([row], _COLUMNS, output)
    if choice is not None:
        queue_notes.tell_transport(choice.transport, choice.reason, name, scheduled=scheduled)
    if url is not None:
        queue_notes.warn_of_url(url, name, concurrency_set=True)
    queue_notes.tell_what_is_kept(row)
    say("running workers apply it within 5 s")
    if choice is not None:
        queue_notes.tell_delivery(name, choice.transport, stop, edge=woken)
    else:
        say(f"Next: qctl describe {name}")
