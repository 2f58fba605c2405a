"""Send rows that exist already: backfill."""

import shlex
from typing import Annotated, Any

import typer

from qctl import config, db, models, units
from qctl.cli import options
from qctl.cli.console import once_a_second, say
from qctl.cli.named_connection import in_fixes
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.operations import backfill, queues
from qctl.output import Column, Format, render
from qctl.output.columns import counted, instant, number, one_line, seconds

_COLUMNS = [
    Column("relation", "table"),
    Column("queue_name", "queue"),
    Column("state", "state"),
    Column("scanned", "read", number, right=True),
    Column("queued", "queued", number, right=True),
    Column("rows_per_s", "rows/s", number, right=True),
    Column("started_at", "started", instant),
    Column("where_sql", "rows", of=lambda run: "missed" if run.missed else one_line(run.where_sql or "all"), fold=True),
    Column("error", "error", one_line, fold=True),
    Column("fix", "to go on", fold=True),
]
_PREVIEW = [
    Column("relation", "table"),
    Column("queue_name", "queue"),
    Column("rows", "rows", number, right=True),
    Column("seconds", "takes about", seconds, right=True),
]
# Below this nobody notices that changes wait behind the rows.
_MANY = 10_000


def command(
    table: Annotated[
        str | None,
        typer.Argument(help="The table, with its schema; without it, list the runs.", metavar="SCHEMA.TABLE"),
    ] = None,
    queue: options.Queue = None,
    where: Annotated[
        str | None, typer.Option("--where", help="Send only rows for which this SQL is true.", metavar="SQL")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="Send only these columns, the key and the order key.", metavar="COLUMNS"),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="At most so many rows: 200/s, 5000/min.", metavar="RATE")
    ] = None,
    missed: Annotated[
        bool,
        typer.Option("--missed", help="Send only rows that are not what was captured last, and rows that are gone."),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Send only rows whose --by is at or after this time.", metavar="TIME"),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="The column that --since looks at: updated_at.", metavar="COLUMN")
    ] = None,
    as_me: Annotated[
        bool, typer.Option("--as-me", help="Read the rows as you where you cannot act for the table's owner.")
    ] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Pause the run of this table.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the run of this table; what is queued stays.")] = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Send rows that a table holds already, each as a message of operation READ.

    The rows are read in the order of the primary key, 500 at a time, and locked FOR SHARE while they are queued: no message
    is older than a change that was captured before it. Progress is kept with the messages, so after a crash or Ctrl-C the
    same command goes on, and no row is sent twice. If the table is attached to the queue, its --when, --body, --format and
    --order-by hold here too.

    Changes that come meanwhile are delivered behind the rows that wait: --rate leaves them room. After a trigger was off,
    --since TIME --by COLUMN sends what was written since; --missed compares each row with what the queue, its archive and its
    dead letters hold of it, and tells of rows that are gone as DELETE.

    Example: qctl backfill public.users -q users --where "active" --rate 200/s
    """
    if table is None:
        given = {"--where": where, "--columns": columns, "--rate": rate, "--missed": missed, "--since": since, "--by": by,
                 "--as-me": as_me, "--pause": pause, "--cancel": cancel, "--dry-run": dry_run}  # fmt: skip
        if option := next((name for name, value in given.items() if value), None):
            raise UsageError(
                f"{option} is about a table, and none was named", hint="qctl backfill SCHEMA.TABLE -q QUEUE"
            )
        with session(dsn, profile, "backfill") as connection:
            _list(connection, queue, output)
        return
    if (since is None) != (by is None):
        raise UsageError("--since and --by need each other", hint="--since '2026-11-30 02:00' --by updated_at")
    if pause and cancel:
        raise UsageError("--pause and --cancel exclude each other")
    asked = db.known(
        where=where,
        columns=None if columns is None else [word.strip() for word in columns.split(",") if word.strip()],
        rate_per_s=None if rate is None else options.per_second(rate),
        missed=missed or None,
        since=None if since is None else backfill.moment(units.moment(since)),
        by=by,
        as_me=as_me or None,
    )
    if (pause or cancel) and (asked or dry_run):
        raise UsageError(f"{'--pause' if pause else '--cancel'} takes no other option")
    with session(dsn, profile, "backfill", changes=not dry_run) as connection:
        name = queues.the_one(connection, queue)
        if pause or cancel:
            backfill.set_state(connection, table, name, "paused" if pause else "cancelled")
            _show(connection, table, name, output)
        elif dry_run:
            _preview(connection, table, name, asked, output)
        else:
            _run(connection, table, name, asked, output)


def _list(connection: "db.Connection", queue: str | None, output: Format | None) -> None:
    rows = in_fixes(backfill.runs(connection, queue))
    render(rows, _COLUMNS, output)
    if not rows:
        say("no backfill has run. Next: qctl backfill SCHEMA.TABLE -q QUEUE --dry-run")


def _preview(connection: "db.Connection", table: str, name: str, asked: dict[str, Any], output: Format | None) -> None:
    found = backfill.preview(connection, backfill.begin(table, name, asked))
    render([found], _PREVIEW, output)
    say(f"nothing was changed; {counted(found.rows, 'row')} of {found.relation} would be read")


def _run(connection: "db.Connection", table: str, name: str, asked: dict[str, Any], output: Format | None) -> None:
    begun = backfill.begin(table, name, asked).one(connection)
    done = [run for run in backfill.runs(connection, name) if run.relation == begun.relation and run.state == "done"]
    if done and not begun.resumed and done[-1].ended_at is not None:
        say(f"a backfill of {begun.relation} was done at {instant(done[-1].ended_at)}; rows of it are sent again")
    if config.stderr_is_terminal():
        if begun.resumed:
            say(f"going on after {counted(begun.scanned, 'row')}")
        elif begun.rate_per_s is None and begun.estimated > _MANY:
            say(
                f"about {begun.estimated:,} rows; changes that come now are delivered behind them: --rate leaves them room"
            )
    progress = once_a_second(lambda rows: f"{begun.relation}: {_progress(rows, begun.estimated)}")
    try:
        last = backfill.run(connection, begun, progress, say)
    except KeyboardInterrupt:
        say(f"stopped; to go on: {_again(begun)}")
        raise
    _show(connection, table, name, output, number_=begun.backfill_id)
    if last.state != "done":
        raise QctlError(
            f"the backfill of {begun.relation} was {last.state}"
            if last.state != "failed"
            else f"the backfill of {begun.relation} failed: {last.error}",
            code=ExitCode.PARTLY_DONE,
            hint=None if last.state == "cancelled" else _again(begun),
            detail=f"to end it instead: {_again(begun)} --cancel" if last.state == "failed" else None,
        )


def _again(begun: "models.BackfillBegun") -> str:
    return f"qctl backfill {shlex.quote(begun.relation)} -q {begun.queue_name}"


def _progress(rows: int, estimated: int) -> str:
    if estimated <= rows:
        return f"{rows:,} rows"
    return f"{rows:,} of about {estimated:,} rows ({rows / estimated:.0%})"


def _show(
    connection: "db.Connection", table: str, name: str, output: Format | None, number_: int | None = None
) -> None:
    rows = [row for row in backfill.runs(connection, name) if number_ is None or row.backfill_id == number_]
    render(in_fixes(rows[-1:]), _COLUMNS, output)
