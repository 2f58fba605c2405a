"""Make a queue."""

from typing import Annotated, Any

import typer

from qctl import config, db
from qctl.cli import options, queue_notes
from qctl.cli.console import print_calls, say
from qctl.cli.queue_settings import with_settings
from qctl.cli.session import session
from qctl.operations import attachments, capacity, edge, health, migrate, order_index, partitions, queues
from qctl.output import Column, render
from qctl.output.columns import counted, seconds, yes_no

_COLUMNS = [
    Column("queue_name", "queue"),
    Column("transport", "transport"),
    Column("created", "created", yes_no),
    Column("waiting", "waiting", right=True),
]


@with_settings
def command(
    name: Annotated[str, typer.Argument(help="The queue: a-z, 0-9 and _, at most 47.", metavar="QUEUE")],
    url: Annotated[str, typer.Option("--url", help="The endpoint.", metavar="URL")],
    settings: dict[str, Any],
    attach: Annotated[
        list[str] | None, typer.Option("--attach", help="Capture this table too; may be repeated.", metavar="TABLE")
    ] = None,
    header: options.Headers = None,
    partition: Annotated[
        str | None,
        typer.Option(
            "--partition",
            help="Put the archive, and an attempt log that is empty, into partitions by date: daily …",
            metavar="INTERVAL",
        ),
    ] = None,
    waiting: Annotated[
        str | None,
        typer.Option(
            "--waiting",
            help="What to do with the messages in an existing pgmq queue of that name.",
            metavar="deliver|skip",
        ),
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Switch off cron jobs that take messages from that pgmq queue.")
    ] = False,
    ignore_readers: Annotated[
        bool, typer.Option("--ignore-readers", help="Leave cron jobs on that seem to take messages from that queue.")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Make a queue with its endpoint, and attach tables to it.

    A pgmq queue of that name is adopted. Its messages are delivered, or skipped to the archive: a terminal is asked, a
    script says --waiting. A cron job that reads the queue is named, and switched off with --take-over.

    Example: qctl create orders --url https://n8n.example.com/webhook/orders --attach public.orders
    """
    headers = options.open_headers(header)
    captures = [attachments.attach(table, name, again=sql) for table in attach or []]

    def creation(choice: str | None) -> "db.Call[Any]":
        return queues.create(
            name, url, headers, settings, waiting=choice, take_over=take_over, ignore_readers=ignore_readers, again=sql
        )

    parts = [partitions.archive(name, partition), partitions.attempts(partition, only_empty=True)] if partition else []
    if sql:
        print_calls([creation(waiting), *parts, *captures])
        return
    with session(dsn, profile, "create", changes=True) as connection:
        migrate.require_data(connection)
        if settings.get("ordered"):
            order_index.prepare(connection, name)
        if waiting is None and (count := queues.waiting(connection, name)) and config.can_ask():
            waiting = typer.prompt(f"{name} holds {counted(count, 'message')}: deliver or skip?", err=True).strip()

        def make() -> "tuple[Any, list[Any], list[Any]]":
            with db.transaction(connection):
                attachments.lock(connection, attach or [])
                return (
                    creation(waiting).one(connection),
                    [part.one(connection) for part in parts],
                    [row for call in captures for row in call.run(connection)],
                )

        created, partitioned, triggers = attachments.with_retries(make, say)
        row = queues.described(connection, name)
        scheduled = bool(capacity.jobs(connection))
        running = bool(migrate.running_jobs(connection))
        stop = health.delivery_stop(connection, name)
        allow = health.allowing(connection, name)
        woken = edge.standing(connection) if created.transport == "http" and not row.is_handed_over else None
    render([created], _COLUMNS, output)
    if triggers:
        say(f"captures INSERT, UPDATE and DELETE of {', '.join(sorted({t.relation for t in triggers}))}")
    for job in created.switched_off:
        say(f"cron job {job} is switched off")
    if created.waiting:
        say(
            f"{counted(created.skipped, 'waiting message')} skipped to the archive"
            if waiting == "skip"
            else f"{counted(created.waiting, 'waiting message')} will be delivered too"
        )
    queue_notes.tell_transport(created.transport, created.reason, name, scheduled=scheduled, running=running)
    queue_notes.warn_of_url(url, name, concurrency_set="concurrency" in settings or "concurrency_auto" in settings)
    if row.archive and row.retention_s is None:
        say(f"delivered messages are kept for ever; to delete them after a week: qctl set -q {name} --retention 7d")
    elif row.archive and row.retention_s is not None:
        longer = f"qctl set -q {name} --retention 30d"
        say(f"delivered messages are deleted after {seconds(row.retention_s)}, dead letters are kept; longer: {longer}")
    queue_notes.tell_what_is_kept(row)
    if not created.created:
        say("messages that another program archived stay: neither the retention nor qctl purge deletes them")
    if partition:
        say(f"its archive is in {partition} partitions")
    if partitioned and not partitioned[-1].partitions:
        say(f"the attempt log stays in one table; qctl partition -q {name} puts it into partitions too")
    queue_notes.tell_delivery(
        name, created.transport, stop, attached=bool(triggers), allow=allow, running=running, edge=woken
    )
