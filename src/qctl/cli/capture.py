"""Commands that say which tables are captured: attach, detach."""

from typing import Annotated, Any

import typer

from qctl import attachments, models, queues
from qctl.cli import completing, options, settings
from qctl.cli.calls import print_calls
from qctl.cli.consent import consent_if_protected
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.output import Column, render
from qctl.output.columns import words

_TRIGGER_COLUMNS = [
    Column("relation", "table"),
    Column("queue_name", "queue"),
    Column("operation", "operation"),
    Column("trigger_name", "trigger"),
    Column("runs_as", "runs as"),
]
_DETACHED_COLUMNS = [Column("relation", "table"), Column("queue_name", "queue"), Column("trigger_name", "trigger")]


def whole_table(table: str, queue: str) -> tuple[str, dict[str, Any]]:
    """The SQL function and arguments that capture every change of a table."""
    return attachments.attachment(
        table,
        queue,
        operations=["INSERT", "UPDATE", "DELETE"],
        when=None,
        columns=[],
        payload="qctl",
        unchanged=False,
        as_me=False,
    )


def attach(
    table: Annotated[str, typer.Argument(help="The table, with its schema.", metavar="SCHEMA.TABLE")],
    queue: options.Queue = None,
    on: Annotated[str, typer.Option("--on", help="Which changes.", metavar="OPERATIONS")] = "insert,update,delete",
    when: Annotated[
        str | None, typer.Option("--when", help="Capture only rows for which this SQL holds.", metavar="CONDITION")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="An update counts only if one of these changed.", metavar="COLUMNS")
    ] = None,
    payload: Annotated[str, typer.Option("--payload", help="Shape of the body: qctl or supabase.")] = "qctl",
    unchanged: Annotated[bool, typer.Option("--unchanged", help="Capture updates that change nothing, too.")] = False,
    replicated: Annotated[
        bool, typer.Option("--replicated", help="Capture also what replication applies; a trigger per row.")
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
            "--max-size", help="A row that takes more, compressed, comes by its primary key only.", metavar="SIZE"
        ),
    ] = "512k",
    order_by: Annotated[
        str | None,
        typer.Option(
            "--order-by", help="One at a time, in their order, for each value of this column.", metavar="record.COLUMN"
        ),
    ] = None,
    on_dead: settings.OnDead = None,
    as_me: Annotated[
        bool, typer.Option("--as-me", help="Run the capture as you where you cannot act for the table's owner.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Make the triggers of this attachment anew, with the options it has.")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Capture a table's changes into a queue.

    Partitioned and inherited tables are captured with what belongs to them. Not seen: TRUNCATE unless --on names it,
    and without --replicated the writes of a session whose session_replication_role is replica. One transaction is left
    out by: set local qctl.capture = off. With --order-by record.user_id the queue is ordered: the changes of one user are
    delivered one at a time, in their order, and a failing one holds up that user's alone, until it is dead (--on-dead).

    Example: qctl attach public.users -q users --on insert,update --when "new.active" --columns email,name
    """
    if on_dead is not None and order_by is None:
        raise UsageError("--on-dead is of ordered messages", hint="name the column, too: --order-by record.COLUMN")
    operations = [operation.strip().upper() for operation in on.split(",") if operation.strip()]
    names = [name.strip() for name in (columns or "").split(",") if name.strip()]

    def arguments_for(name: str) -> dict[str, Any]:
        return attachments.attachment(
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
        )[1]

    if sql:
        if queue is None:
            raise UsageError("--sql makes no connection, so it needs -q QUEUE")
        more = [] if on_dead is None else [queues.change(queue, None, {}, {"on_dead": on_dead})]
        print_calls([("attach", arguments_for(queue)), *more])
        return
    with session(dsn, profile, "attach", changes=True) as connection:
        name = queues.the_one(connection, queue)
        triggers: list[models.AttachedTrigger] = (
            attachments.reattach(connection, table, name, say)
            if again
            else attachments.attach(connection, arguments_for(name), say)
        )
        if on_dead is not None:
            queues.alter(connection, name, None, {}, {"on_dead": on_dead})
    render(triggers, _TRIGGER_COLUMNS, output)
    unseen = [] if "TRUNCATE" in operations else ["TRUNCATE"]
    if not replicated:
        unseen.append("writes with session_replication_role = replica")
    if unseen and not again:
        say(f"not seen: {', and '.join(unseen)}")
    say("Next: qctl status")


def detach(
    table: Annotated[
        str,
        typer.Argument(
            help="The table, with its schema.", metavar="SCHEMA.TABLE", autocompletion=completing.attached_tables
        ),
    ],
    queue: options.Queue = None,
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Stop capturing a table: from one queue, or without -q from all. What waits in the queue is still delivered.

    Example: qctl detach public.users -q users
    """
    if sql:
        print_calls([("detach", {"relation": table, "queue": queue})])
        return
    with session(dsn, profile, "detach", changes=True) as connection:
        what = f"changes of {table} no longer captured" + (f" into {queue}" if queue else "")
        consent_if_protected(connection, what, yes=yes)
        dropped = attachments.detach(connection, table, queue, say)
    render(dropped, _DETACHED_COLUMNS, output)
    say("Next: qctl status")


def adopt_webhook(
    table: Annotated[str, typer.Argument(help="The table, with its schema.", metavar="SCHEMA.TABLE")],
    trigger: Annotated[str, typer.Argument(help="The webhook's trigger.", metavar="TRIGGER")],
    queue: Annotated[
        str | None, typer.Option("--queue", "-q", help="The queue; else named as the trigger.", metavar="QUEUE")
    ] = None,
    transport: options.Transport = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Take over a Supabase Database Webhook: same URL, headers, body and conditions, and no event lost from then on.

    One transaction makes the queue, attaches the table and disables the webhook's trigger, which stays for the way back.

    Example: qctl adopt-webhook public.orders orders_to_n8n
    """
    if sql:
        print_calls([attachments.adoption(table, trigger, queue, transport)])
        return
    with session(dsn, profile, "adopt-webhook", changes=True) as connection:
        row = attachments.adopt_webhook(connection, table, trigger, queue, transport, say)
    columns = [
        Column("queue_name", "queue"),
        Column("relation", "table"),
        Column("operations", "operations", words),
        Column("transport", "transport"),
        Column("url", "url", fold=True),
    ]
    render([row], columns, output)
    say(
        f"trigger {row.trigger_name} is disabled; the way back: enable it, and qctl detach {row.relation} -q {row.queue_name}"
    )
    nexts = {"pg_net": f"test -q {row.queue_name}", "http": f"worker -q {row.queue_name}"}
    say(f"Next: qctl {nexts[row.transport]}")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (attach, detach, adopt_webhook):
        app.command(function.__name__.replace("_", "-"), rich_help_panel="Set up")(function)
