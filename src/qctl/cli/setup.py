"""Commands that set up: install, upgrade, create, set."""

from typing import Annotated, Any

import typer

from qctl import attachments, config, db, migrate, models, partitions, queues, scaling
from qctl.cli import capture, options, settings
from qctl.cli.calls import print_calls
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.output import Column, render
from qctl.output.columns import counted, seconds, yes_no
from qctl.output.columns import rate as write_rate

_STEP_COLUMNS = [Column("kind", "kind"), Column("name", "name"), Column("version", "version", right=True)]
_CREATED_COLUMNS = [
    Column("queue_name", "queue"),
    Column("transport", "transport"),
    Column("created", "created", yes_no),
    Column("waiting", "waiting", right=True),
]


def install(
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    dry_run: options.DryRun = False,
    sql: options.AsSql = False,
) -> None:
    """Install qctl into a database; where it is installed already, bring it up to date.

    Makes schema qctl, and pgmq where it is missing: as an extension if the server offers it, else as plain SQL.
    One transaction; running it again does nothing.

    Example: qctl install --dsn postgresql://postgres@localhost/app
    """
    _apply("install", dsn, profile, output, dry_run=dry_run, sql=sql)


def upgrade(
    repair: Annotated[
        bool, typer.Option("--repair", help="Apply every function and view again, as verify may advise.")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    dry_run: options.DryRun = False,
    sql: options.AsSql = False,
) -> None:
    """Bring the schema in a database up to this version of qctl.

    Database first, workers after: running workers go on with the upgraded schema. Refuses a database without qctl.

    Example: qctl upgrade --dry-run
    """
    _apply("upgrade", dsn, profile, output, dry_run=dry_run, sql=sql, repair=repair)


def _apply(
    command: str, dsn: str | None, profile: str | None, output: Any, *, dry_run: bool, sql: bool, repair: bool = False
) -> None:
    if sql:
        typer.echo(migrate.script(repair=repair).decode(), nl=False)
        return
    with session(dsn, profile, command, changes=not dry_run) as connection:
        if command == "upgrade" and not migrate.is_installed(connection):
            raise QctlError(
                f"qctl is not installed in {db.where(connection)}", hint="qctl install", code=ExitCode.SCHEMA_VERSION
            )
        if dry_run:
            steps: list[models.Step] = migrate.pending(connection)
            say(f"{len(steps)} files would be applied" if steps else "nothing to do: the schema is up to date")
        else:
            old = migrate.running_jobs(connection)
            steps = migrate.apply(connection, repair=repair)
            say(f"{len(steps)} files applied" if steps else "nothing to do: the schema is up to date")
            if steps and (left := scaling.wait_for_end(connection, lambda job: job.pid in old)):
                say(f"jobs with the old code end within the minute: {', '.join(f'pid {job.pid}' for job in left)}")
            choice = queues.transport(connection, "auto")
            say(f"new queues use transport {choice.transport}: {choice.reason}")
    if steps or output:
        render(steps, _STEP_COLUMNS, output)
    if not dry_run:
        say("Next: qctl status" if command == "upgrade" else "Next: qctl create NAME --url URL --attach SCHEMA.TABLE")


def create(
    name: Annotated[str, typer.Argument(help="The queue: a-z, 0-9 and _, at most 47.", metavar="QUEUE")],
    url: Annotated[str, typer.Option("--url", help="The endpoint.", metavar="URL")],
    attach: Annotated[
        list[str] | None, typer.Option("--attach", help="Capture this table, too; may be repeated.", metavar="TABLE")
    ] = None,
    header: options.Headers = None,
    timeout: settings.Timeout = None,
    concurrency: settings.Concurrency = None,
    max_in_flight: settings.MaxInFlight = None,
    rate: settings.Rate = None,
    retry: settings.RetrySchedule = None,
    breaker: settings.Breaker = None,
    breaker_share: settings.BreakerShare = None,
    breaker_pause: settings.BreakerPause = None,
    expect_body: settings.ExpectBody = None,
    ordered: settings.Ordered = None,
    order_retry: settings.OrderRetry = None,
    on_dead: settings.OnDead = None,
    transport: options.Transport = None,
    accept_net_secrets: settings.AcceptNetSecrets = None,
    allow_network: settings.AllowNetwork = None,
    allow_private: settings.AllowPrivate = None,
    retention: options.Retention = None,
    trust_location: options.TrustLocation = None,
    partition: Annotated[
        str | None,
        typer.Option(
            "--partition",
            help="Put the archive, and an empty log, into partitions by date: daily …",
            metavar="INTERVAL",
        ),
    ] = None,
    waiting: Annotated[
        str | None,
        typer.Option(
            "--waiting", help="What becomes of messages in a pgmq queue of that name.", metavar="deliver|skip"
        ),
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Switch off cron jobs that take messages from that pgmq queue.")
    ] = False,
    ignore_readers: Annotated[
        bool, typer.Option("--ignore-readers", help="Let cron jobs be that seem to take messages from that pgmq queue.")
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Make a queue with its endpoint, and attach tables to it.

    A pgmq queue of that name is adopted. What waits in it is delivered, or skipped to the archive; a person is asked,
    anything else says --waiting. A cron job that reads it is named, and switched off with --take-over.

    Example: qctl create orders --url https://n8n.example.com/webhook/orders --attach public.orders
    """
    wanted = settings.given(
        timeout=timeout,
        concurrency=concurrency,
        max_in_flight=max_in_flight,
        retry=retry,
        transport=transport,
        retention=retention,
        trust_location=trust_location,
        rate=rate,
        breaker=breaker,
        breaker_share=breaker_share,
        breaker_pause=breaker_pause,
        expect_body=expect_body,
        ordered=ordered,
        order_retry=order_retry,
        on_dead=on_dead,
        accept_net_secrets=accept_net_secrets,
        allow_network=allow_network,
        allow_private=allow_private,
    )
    headers = options.open_headers(header)
    captures = [capture.whole_table(table, name) for table in attach or []]
    if sql:
        function, arguments = queues.creation(
            name, url, headers, wanted, waiting=waiting, take_over=take_over, ignore_readers=ignore_readers
        )
        parts = (
            [partitions.archive_call(name, partition), partitions.attempts_call(partition, only_empty=True)]
            if partition
            else []
        )
        print_calls([(function, arguments), *parts, *captures])
        return
    with session(dsn, profile, "create", changes=True) as connection, db.transaction(connection):
        if waiting is None and (count := queues.waiting(connection, name)) and config.can_ask():
            waiting = typer.prompt(f"{name} holds {count:,} messages: deliver or skip them?", err=True).strip()
        created = queues.create(
            connection,
            name,
            url,
            headers,
            wanted,
            waiting=waiting,
            take_over=take_over,
            ignore_readers=ignore_readers,
        )
        log = None
        if partition:
            partitions.archive(connection, name, partition)
            log = partitions.attempts(connection, partition, only_empty=True)
        triggers = [row for _, arguments in captures for row in attachments.attach(connection, arguments, say)]
        scheduled = bool(scaling.jobs(connection))
        kept = queues.described(connection, name).retention_s
    render([created], _CREATED_COLUMNS, output)
    if triggers:
        say(f"captures {', '.join(sorted({t.relation for t in triggers}))}: INSERT, UPDATE, DELETE")
    for job in created.switched_off:
        say(f"cron job {job} is switched off")
    if created.waiting:
        say(
            f"{created.skipped:,} skipped to the archive"
            if waiting == "skip"
            else f"delivered, too: {counted(created.waiting, 'waiting message')}"
        )
    _tell_transport(created.transport, created.reason, name, scheduled=scheduled)
    _warn_of_url(url, concurrency)
    say(
        "delivered messages are kept for ever; qctl set --retention 7d changes that"
        if kept is None
        else f"delivered messages are deleted after {seconds(kept)}, dead letters are kept; qctl set --retention changes that"
    )
    if partition:
        say(f"its archive is in {partition} partitions")
    if log and not log.partitions:
        say(f"the attempt log stays in one table: qctl partition -q {name} puts it into partitions, too")
    nexts = {"pg_net": "status", "http": f"worker -q {name}"}
    say(f"Next: qctl {nexts[created.transport] if triggers else f'attach SCHEMA.TABLE -q {name}'}")


def _tell_transport(transport: str, reason: str, name: str, *, scheduled: bool) -> None:
    """Which transport, why, and what must be known of it."""
    say(f"transport {transport}: {reason}")
    if transport == "http":
        say(f"nothing delivers this queue until you run: qctl worker -q {name}")
        return
    say(
        "  a redirect is a failure; every role can read the headers that are sent; one slow endpoint delays all queues of pg_net"
    )
    if not scheduled:
        say("  there is no pg_cron here, so run this each minute by other means: call qctl.work();")


def _warn_of_url(url: str, concurrency: str | None) -> None:
    """n8n has two URLs for a workflow, and only one of them is there when nobody looks; and it works on one core."""
    if "/webhook/" in url and concurrency is None:
        say("n8n works on one core; qctl set --concurrency auto finds how many requests at once it takes")
    if "/webhook-test/" in url:
        say("Warning: an n8n URL with /webhook-test/ answers only while its editor listens; use the one with /webhook/")


def set_(
    queue: options.Queue = None,
    url: Annotated[str | None, typer.Option("--url", help="The endpoint.", metavar="URL")] = None,
    header: options.Headers = None,
    no_header: Annotated[
        list[str] | None, typer.Option("--no-header", help="Send this header no longer.", metavar="NAME")
    ] = None,
    timeout: settings.Timeout = None,
    concurrency: settings.Concurrency = None,
    max_in_flight: settings.MaxInFlight = None,
    rate: settings.Rate = None,
    retry: settings.RetrySchedule = None,
    breaker: settings.Breaker = None,
    breaker_share: settings.BreakerShare = None,
    breaker_pause: settings.BreakerPause = None,
    expect_body: settings.ExpectBody = None,
    ordered: settings.Ordered = None,
    order_retry: settings.OrderRetry = None,
    on_dead: settings.OnDead = None,
    transport: options.Transport = None,
    accept_net_secrets: settings.AcceptNetSecrets = None,
    allow_network: settings.AllowNetwork = None,
    allow_private: settings.AllowPrivate = None,
    retention: options.Retention = None,
    trust_location: options.TrustLocation = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Change a queue's endpoint or settings; what is not named stays.

    Example: qctl set -q orders --timeout 30s --concurrency 10
    """
    wanted = settings.given(
        timeout=timeout,
        concurrency=concurrency,
        max_in_flight=max_in_flight,
        retry=retry,
        transport=transport,
        retention=retention,
        trust_location=trust_location,
        rate=rate,
        breaker=breaker,
        breaker_share=breaker_share,
        breaker_pause=breaker_pause,
        expect_body=expect_body,
        ordered=ordered,
        order_retry=order_retry,
        on_dead=on_dead,
        accept_net_secrets=accept_net_secrets,
        allow_network=allow_network,
        allow_private=allow_private,
    )
    headers: dict[str, str | None] = {**options.open_headers(header), **dict.fromkeys(no_header or [])}
    if not (wanted or headers or url):
        raise UsageError("nothing to change", hint="name a setting: qctl set --help")
    if sql:
        if queue is None:
            raise UsageError("--sql makes no connection, so it needs -q QUEUE")
        print_calls([queues.change(queue, url, headers, wanted)])
        return
    with session(dsn, profile, "set", changes=True) as connection:
        name = queues.the_one(connection, queue)
        choice = None if transport is None else queues.transport(connection, transport)
        row = queues.alter(connection, name, url, headers, wanted)
        scheduled = bool(scaling.jobs(connection))
    columns = [
        Column("queue_name", "queue"),
        Column("transport", "transport"),
        Column("url", "url"),
        Column("timeout_ms", "timeout", lambda ms: seconds(ms / 1000), right=True),
        Column(
            "concurrency", "concurrency", right=True, of=lambda q: "auto" if q.concurrency_auto else str(q.concurrency)
        ),
        Column("max_in_flight", "max in flight", right=True),
        Column("rate_per_s", "rate", write_rate, right=True),
        Column("retention_s", "kept", seconds, right=True),
    ]
    render([row], columns, output)
    if choice is not None:
        _tell_transport(choice.transport, choice.reason, name, scheduled=scheduled)
    if url is not None:
        _warn_of_url(url, "")
    say("running workers take it over within 5 s")
    say(f"Next: qctl describe {name}")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (install, upgrade, create, set_):
        app.command(function.__name__.rstrip("_"), rich_help_panel="Set up")(function)
