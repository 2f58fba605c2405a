"""Capture a table's changes."""

from typing import Annotated, Any

import typer

from qctl import db, models
from qctl.cli import options, queue_settings
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.operations import attachments, queues
from qctl.output import Column, render

_COLUMNS = [
    Column("relation", "table"),
    Column("queue_name", "queue"),
    Column("operation", "operation"),
    Column("trigger_name", "trigger"),
    Column("runs_as", "runs as"),
]


def command(
    table: Annotated[str, typer.Argument(help="The table, with its schema.", metavar="SCHEMA.TABLE")],
    queue: options.Queue = None,
    on: Annotated[
        str, typer.Option("--on", help="Operations to capture.", metavar="OPERATIONS")
    ] = "insert,update,delete",
    when: Annotated[
        str | None, typer.Option("--when", help="Capture only rows for which this SQL is true.", metavar="CONDITION")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="Capture an update only if one of these changed.", metavar="COLUMNS"),
    ] = None,
    payload: Annotated[str, typer.Option("--payload", help="Shape of the body: qctl or supabase.")] = "qctl",
    unchanged: Annotated[bool, typer.Option("--unchanged", help="Capture updates that change nothing too.")] = False,
    replicated: Annotated[
        bool, typer.Option("--replicated", help="Capture also what replication applies, by a trigger per row.")
    ] = False,
    on_error: Annotated[
        str,
        typer.Option(
            "--on-error", help="When capture fails: fail the statement, or skip the event.", metavar="fail|skip"
        ),
    ] = "fail",
    max_size: Annotated[
        str,
        typer.Option(
            "--max-size", help="Capture a row that takes more, compressed, by its primary key only.", metavar="SIZE"
        ),
    ] = "512k",
    order_by: Annotated[
        str | None,
        typer.Option(
            "--order-by",
            help="Deliver one at a time, in order, for each value of this column.",
            metavar="record.COLUMN",
        ),
    ] = None,
    on_dead: queue_settings.OnDead = None,
    as_me: Annotated[
        bool, typer.Option("--as-me", help="Run the capture as you where you cannot act for the table's owner.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Recreate the triggers of this attachment with the options it has.")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Capture a table's changes into a queue.

    Partitioned and inherited tables are captured with their partitions and children. Not captured: TRUNCATE unless --on
    names it, and without --replicated the writes of a session whose session_replication_role is replica. One transaction is
    left out by: set local qctl.capture = off. With --order-by record.user_id the queue is ordered: the changes of one user
    are delivered one at a time, in their order, and one that fails holds up only that user's, until it is dead (--on-dead).

    Example: qctl attach public.users -q users --on insert,update --when "new.active" --columns email,name
    """
    if on_dead is not None and order_by is None:
        raise UsageError("--on-dead needs --order-by", hint="name the column too: --order-by record.COLUMN")
    operations = [operation.strip().upper() for operation in on.split(",") if operation.strip()]
    names = [name.strip() for name in (columns or "").split(",") if name.strip()]

    def attachment(name: str) -> "db.Call[models.AttachedTrigger]":
        return attachments.attach(
            table,
            name,
            operations=operations,
            when=when,
            columns=names,
            payload=payload,
            unchanged=unchanged,
            as_me=as_me,
            replicated=replicated,
            on_error=None if on_error == "fail" else on_error,
            max_bytes=None if max_size == "512k" else options.size(max_size),
            order_by=order_by,
        )

    def ordering(name: str) -> "list[db.Call[Any]]":
        return [] if on_dead is None else [queues.change(name, None, {}, {"on_dead": on_dead})]

    if sql:
        name = options.named_queue(queue)
        print_calls([attachments.reattach(table, name) if again else attachment(name), *ordering(name)])
        return
    with session(dsn, profile, "attach", changes=True) as connection:
        name = queues.the_one(connection, queue)
        call = attachments.reattach(table, name) if again else attachment(name)
        triggers = attachments.run(connection, call, say)
        for change in ordering(name):
            change.execute(connection)
    render(triggers, _COLUMNS, output)
    unseen = [] if "TRUNCATE" in operations else ["TRUNCATE"]
    if not replicated:
        unseen.append("writes with session_replication_role = replica")
    if unseen and not again:
        say(f"not captured: {', and '.join(unseen)}")
    say("Next: qctl status")
