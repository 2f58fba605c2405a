"""Capture a table's changes."""

from typing import Annotated, Any

import typer

from qctl import db, models
from qctl.cli import options, queue_settings
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.operations import attachments, order_index, queues
from qctl.output import Column, render
from qctl.output.columns import counted

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
        str | None,
        typer.Option("--on", help="Operations to capture; insert,update,delete by default.", metavar="OPERATIONS"),
    ] = None,
    when: Annotated[
        str | None, typer.Option("--when", help="Capture only rows for which this SQL is true.", metavar="CONDITION")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="Capture an update only if one of these changed.", metavar="COLUMNS"),
    ] = None,
    body: Annotated[
        str | None,
        typer.Option(
            "--body", help="SQL over new, old and operation that makes the payload, instead of the rows.", metavar="SQL"
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            "--payload",
            help="Format of the messages: qctl (the default), supabase, cloudevents, slack or discord.",
            metavar="FORMAT",
        ),
    ] = None,
    unchanged: Annotated[
        bool | None, typer.Option("--unchanged", help="Capture updates that change nothing too.", show_default=False)
    ] = None,
    replicated: Annotated[
        bool | None,
        typer.Option(
            "--replicated", help="Capture also what replication applies, by a trigger per row.", show_default=False
        ),
    ] = None,
    on_error: Annotated[
        str | None,
        typer.Option(
            "--on-error",
            help="When an event cannot be queued: hold it (the default), fail the statement, or skip the event.",
            metavar="hold|fail|skip",
        ),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            help="Capture a row that takes more, compressed, by its primary key only; 512k by default.",
            metavar="SIZE",
        ),
    ] = None,
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
        bool | None,
        typer.Option(
            "--as-me", help="Run the capture as you where you cannot act for the table's owner.", show_default=False
        ),
    ] = None,
    change: Annotated[
        bool,
        typer.Option(
            "--change", help="Change these options of an attachment; follow a renamed or re-created table or column."
        ),
    ] = False,
    release: Annotated[
        bool,
        typer.Option("--release", help="With --change: queue also held events that the options cannot judge."),
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="The same as --change.", hidden=True)] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Capture a table's changes into a queue.

    Partitioned and inherited tables are captured with their partitions and children. Not captured: TRUNCATE unless --on
    names it, and without --replicated the writes of a session whose session_replication_role is replica. One transaction is
    left out by: set local qctl.capture = off; a session by: set qctl.capture = off. With --order-by record.user_id the queue
    is ordered: the changes of one user are delivered one at a time, in their order, and one that fails holds up only that
    user's, until it is dead (--on-dead).

    A change of the table never makes the application's statements fail: an event that cannot be queued as asked is held,
    and check names the command that queues it. --change keeps the options that are not given; an empty --when, --columns,
    --order-by or --body removes that option. It queues the held events that the options select.

    --body runs as the table's owner and may read other tables: name them with their schema. new is null in a DELETE and old
    in an INSERT. Where it fails the message holds the whole row with a key body_failed, and check says so. With --format
    cloudevents it makes data; with slack or discord a text or the whole message.

    Example: qctl attach public.users -q users --on insert,update --when "new.active" --columns email,name
    """
    if on_dead is not None and order_by is None and not change:
        raise UsageError("--on-dead needs --order-by", hint="name the column too: --order-by record.COLUMN")
    changes = change or again
    if release and not changes:
        raise UsageError("--release needs --change", hint="held events belong to an attachment: add --change")
    given = db.known(
        operations=None if on is None else _words(on.upper()),
        when_sql=when,
        columns=None if columns is None else _words(columns),
        payload=format_,
        body_sql=body,
        unchanged=unchanged,
        replicated=replicated,
        on_error=on_error,
        max_bytes=None if max_size is None else options.size(max_size),
        order_by=order_by,
        as_me=as_me,
    )

    def calls(name: str) -> "tuple[db.Call[models.AttachedTrigger], list[db.Call[Any]]]":
        attachment = (
            attachments.change(table, name, given) if changes else attachments.attach(table, name, given, again=sql)
        )
        return attachment, [] if on_dead is None else [queues.change(name, None, {}, {"on_dead": on_dead})]

    if sql:
        name = options.named_queue(queue)
        attachment, ordering = calls(name)
        print_calls([attachment, *ordering, *([attachments.release(table, name, as_is=release)] if changes else [])])
        return
    with session(dsn, profile, "attach", changes=True) as connection:
        name = queues.the_one(connection, queue)
        attachment, ordering = calls(name)
        if order_by:
            order_index.prepare(connection, name)
        triggers = attachments.run(connection, attachment, say)
        for call in ordering:
            call.execute(connection)
        released, kept = None, 0
        if changes:
            # By the name that it has now: it may have been followed to another table.
            held = attachments.release(triggers[0].relation, name, as_is=release)
            released = attachments.release_all(connection, held)
            kept = sum(row.held for row in attachments.listed(connection, name) if row.relation == triggers[0].relation)
    render(triggers, _COLUMNS, output)
    if released is None:
        _say_what_is_not_captured(given)
    else:
        _say_what_was_released(released)
        if kept:
            say(f"{counted(kept, 'held event')} cannot be judged and stay; to queue them as they are, add --release")
    say("Next: qctl status")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _say_what_was_released(released: "models.ReleasedEvents") -> None:
    if released.queued:
        say(f"{counted(released.queued, 'held event')} queued")
    if released.dropped:
        say(f"{counted(released.dropped, 'held event')} dropped: --when or --columns does not select them")


def _say_what_is_not_captured(given: dict[str, Any]) -> None:
    unseen = [] if "TRUNCATE" in given.get("operations", []) else ["TRUNCATE"]
    if not given.get("replicated"):
        unseen.append("writes with session_replication_role = replica")
    if unseen:
        say(f"not captured: {' and '.join(unseen)}")
