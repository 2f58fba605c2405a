"""Take over a Supabase Database Webhook."""

from typing import Annotated

import typer

from qctl.cli import options, queue_notes, queue_settings
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.operations import attachments, health
from qctl.output import Column, render
from qctl.output.columns import words

_COLUMNS = [
    Column("queue_name", "queue"),
    Column("relation", "table"),
    Column("operations", "operations", words),
    Column("transport", "transport"),
    Column("url", "url", fold=True),
]


def command(
    table: Annotated[str, typer.Argument(help="The table, with its schema.", metavar="SCHEMA.TABLE")],
    trigger: Annotated[str, typer.Argument(help="The webhook's trigger.", metavar="TRIGGER")],
    queue: Annotated[
        str | None, typer.Option("--queue", "-q", help="The queue (default: the trigger's name).", metavar="QUEUE")
    ] = None,
    transport: queue_settings.Transport = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Take over a Supabase Database Webhook: same URL, headers, body and conditions, and no event lost from then on.

    One transaction creates the queue, attaches the table and disables the webhook's trigger, which stays for the way back.

    Example: qctl adopt-webhook public.orders orders_to_n8n
    """
    call = attachments.adopt_webhook(table, trigger, queue, transport)
    if sql:
        print_calls([call])
        return
    with session(dsn, profile, "adopt-webhook", changes=True) as connection:
        (row,) = attachments.run(connection, call, say)
        stop = health.delivery_stop(connection, row.queue_name)
    render([row], _COLUMNS, output)
    say(
        f"trigger {row.trigger_name} is disabled; to go back: enable it, and qctl detach {row.relation} -q {row.queue_name}"
    )
    queue_notes.tell_delivery(row.queue_name, row.transport, stop)
