"""Set how much is delivered at once."""

from typing import Annotated

import typer

from qctl import db, models
from qctl.cli import options
from qctl.cli.capacity_table import COLUMNS, compared
from qctl.cli.confirm import confirm_if_protected
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.operations import capacity, edge, queues
from qctl.output import render

SUPABASE_JOBS = 8


def command(
    queue: options.Queue = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Number of shared worker jobs of pg_cron; 0 stops them.")
    ] = None,
    dedicated: Annotated[
        bool | None,
        typer.Option("--dedicated/--shared", help="Deliver this queue by a job of its own, or by the shared jobs."),
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Most messages to hand to pg_net at once.")] = None,
    max_in_flight: Annotated[
        int | None, typer.Option("--max-in-flight", help="Messages that all workers together may have in flight.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", help="Simultaneous requests of one worker process.")
    ] = None,
    edge_workers: Annotated[
        int | None, typer.Option("--edge", help="Most workers of the Edge Function that may run at once.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option("--for", help="Compute the settings for this rate of messages: 50/s, 5000/min.", metavar="RATE"),
    ] = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Set how much is delivered at once, and show the throughput that each queue can reach and what limits it.

    Without options it only shows. On pg_net the workers are pg_cron jobs, which are rescheduled in one transaction; running
    jobs follow within 2 s. On http they are the processes that you start, and those of the Edge Function, of which --edge sets
    the most; --concurrency applies to each of them.

    Example: qctl scale -q orders --for 5000/min
    """
    per_s = None if rate is None else options.per_second(rate)
    wanted = {
        "workers": workers, "dedicated": dedicated, "batch": batch, "max_in_flight": max_in_flight, "concurrency": concurrency,
    }  # fmt: skip
    asked = any(value is not None for value in wanted.values())
    changes = asked or rate is not None or edge_workers is not None
    with session(dsn, profile, "scale", changes=changes) as connection:
        name = queue
        if per_s is not None or any(wanted[key] is not None for key in wanted if key != "workers"):
            name = queues.the_one(connection, queue)
        if workers == 0 and not dry_run:
            confirm_if_protected(connection, "all worker jobs will stop", yes=yes)
        before = capacity.capacities(connection, name)
        with db.transaction(connection, dry_run=dry_run):
            if per_s is not None and name is not None:
                wanted = _sized(connection, queues.described(connection, name), per_s, rate or "", wanted)
                asked = True
            if asked:
                for change in capacity.scale(connection, queue=name, **wanted):
                    say(f"job {change.job_name} {'would be ' if dry_run else ''}{change.done}")
            if edge_workers is not None:
                edge.scale(connection, edge_workers)
            after = capacity.capacities(connection, name)
        if workers is not None and not dry_run:
            _follow(connection, workers)
    render([compared(old, new) for old, new in zip(before, after, strict=True)], COLUMNS, output)
    if workers is not None and not dry_run:
        _advise(after, workers)


def _sized(
    connection: "db.Connection", row: "models.Queue", per_s: float, rate: str, wanted: dict[str, int | bool | None]
) -> dict[str, int | bool | None]:
    """The settings that the rate needs, but for those given by hand.

    Raises:
        QctlError: the transport cannot reach it; the error says how to move (7).
    """
    needed: models.Sizing = capacity.sizing(connection, row.queue_name, per_s)
    if not needed.reachable:
        moves = ""
        if row.transport == "pg_net":
            q = row.queue_name
            moves = (
                f"\n    qctl set -q {q} --transport http\n    qctl scale -q {q} --for {rate}"
                f"\n    qctl worker -q {q}\n    qctl status --workers"
            )
        raise QctlError(
            f"{row.transport} cannot reach {rate}: {needed.reason}",
            hint=f"move the queue to worker processes; no message is lost or sent twice:{moves}"
            if moves
            else "run another qctl worker",
            code=ExitCode.REFUSED,
        )
    say(f"for {rate}: {needed.reason}")
    sized = {"batch": needed.batch, "max_in_flight": needed.max_in_flight}
    if row.transport == "http":
        sized = {"concurrency": needed.concurrency, "max_in_flight": needed.max_in_flight}
    now = {"batch": row.batch, "max_in_flight": row.max_in_flight, "concurrency": row.concurrency}
    changed = {key: value for key, value in sized.items() if value != now[key]}
    if not changed:
        say("the current settings are enough")
    return {**wanted, **{key: value for key, value in changed.items() if wanted[key] is None}}


def _follow(connection: "db.Connection", workers: int) -> None:
    """Waits for the CALLs that are no longer wanted."""
    left = capacity.wait_for_end(connection, lambda job: workers == 0 or (job.slot is not None and job.slot > workers))
    if left:
        say(f"still running: {', '.join(f'pid {job.pid}' for job in left)}; it ends after its current step")


def _advise(rows: "list[models.Capacity]", workers: int) -> None:
    net = [row for row in rows if row.transport == "pg_net"]
    if workers == 0 and net:
        say(f"nothing delivers {', '.join(row.queue_name for row in net)} now. Next: qctl scale --workers 1")
    if workers > 1:
        say("pg_net is one worker for the whole database, so more jobs do not raise its limit")
    if workers > SUPABASE_JOBS:
        say(f"Warning: Supabase advises against more than {SUPABASE_JOBS} jobs at once")
