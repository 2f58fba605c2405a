"""The command that says how much is delivered at once: scale."""

from dataclasses import dataclass
from typing import Annotated

import typer

from qctl import db, models, queues, scaling
from qctl.cli import options
from qctl.cli.consent import consent_if_protected
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.output import Column, render

SUPABASE_JOBS = 8


@dataclass(frozen=True, slots=True)
class Scaled:
    """A queue before and after; ``before`` is None for what did not change."""

    queue_name: str
    transport: str
    workers: int
    workers_before: int | None
    dedicated: bool
    batch: int
    batch_before: int | None
    max_in_flight: int
    max_in_flight_before: int | None
    concurrency: int
    concurrency_before: int | None
    ceiling_per_s: float
    limited_by: str
    hanging_per_s: float
    limits: list[dict[str, object]]

    @property
    def shown_workers(self) -> str:
        """Jobs on pg_net, processes on http."""
        return "1 own" if self.dedicated else _change(self.workers_before, self.workers)

    @property
    def shown_batch(self) -> str:
        """Means something on pg_net only."""
        return _change(self.batch_before, self.batch) if self.transport == "pg_net" else ""

    @property
    def shown_max_in_flight(self) -> str:
        """For people."""
        return _change(self.max_in_flight_before, self.max_in_flight)

    @property
    def shown_concurrency(self) -> str:
        """Means something on http only."""
        return _change(self.concurrency_before, self.concurrency) if self.transport == "http" else ""


def _change(was: int | None, now: int) -> str:
    return f"{now:,}" if was is None else f"{was:,} → {now:,}"


COLUMNS = [
    Column("queue_name", "queue"),
    Column("transport", "transport"),
    Column("shown_workers", "workers", right=True),
    Column("shown_batch", "batch", right=True, wide=True),
    Column("shown_concurrency", "at once", right=True, wide=True),
    Column("shown_max_in_flight", "max flying", right=True),
    Column("ceiling_per_s", "ceiling", lambda value: f"{value:,.0f}/s", right=True),
    Column("limited_by", "limited by", fold=True),
]


def scale(
    queue: options.Queue = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Shared worker jobs of pg_cron; 0 stops them.")
    ] = None,
    dedicated: Annotated[
        bool | None, typer.Option("--dedicated/--shared", help="A job of its own for this queue, or the shared ones.")
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Messages handed to pg_net at once, at most.")] = None,
    max_in_flight: Annotated[
        int | None, typer.Option("--max-in-flight", help="Claimed messages of all workers.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", help="Requests at once of one worker process.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option("--for", help="Compute the settings for so many messages: 50/s, 5000/min.", metavar="RATE"),
    ] = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Set how much is delivered at once, and see what each queue can carry with that and what limits it.

    Without options it only shows. On pg_net the workers are pg_cron jobs, rescheduled in one transaction; running ones
    follow within 2 s. On http they are the processes that you start, and --concurrency is for each of them.

    Example: qctl scale -q orders --for 5000/min
    """
    per_s = None if rate is None else options.per_second(rate)
    wanted = {
        "workers": workers, "dedicated": dedicated, "batch": batch, "max_in_flight": max_in_flight, "concurrency": concurrency,
    }  # fmt: skip
    asked = any(value is not None for value in wanted.values())
    with session(dsn, profile, "scale", changes=asked or rate is not None) as connection:
        name = queue
        if per_s is not None or any(wanted[key] is not None for key in wanted if key != "workers"):
            name = queues.the_one(connection, queue)
        if workers == 0 and not dry_run:
            consent_if_protected(connection, "all worker jobs stopped", yes=yes)
        before = scaling.capacities(connection, name)
        with db.transaction(connection, dry_run=dry_run):
            if per_s is not None and name is not None:
                wanted = _sized(connection, queues.described(connection, name), per_s, rate or "", wanted)
                asked = True
            if asked:
                for change in scaling.scale(connection, queue=name, **wanted):
                    say(f"job {change.job_name} {'would be ' if dry_run else ''}{change.done}")
            after = scaling.capacities(connection, name)
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
    needed: models.Sizing = scaling.sizing(connection, row.queue_name, per_s)
    if not needed.reachable:
        moves = ""
        if row.transport == "pg_net":
            q = row.queue_name
            moves = (
                f"\n    qctl set -q {q} --transport http\n    qctl scale -q {q} --for {rate}"
                f"\n    qctl worker -q {q}\n    qctl status --workers"
            )
        raise QctlError(
            f"{rate} is past the reach of {row.transport}: {needed.reason}",
            hint=f"move the queue to worker processes; nothing is lost or sent twice by that:{moves}"
            if moves
            else "qctl worker, twice",
            code=ExitCode.REFUSED,
        )
    say(f"for {rate}: {needed.reason}")
    sized = {"batch": needed.batch, "max_in_flight": needed.max_in_flight}
    if row.transport == "http":
        sized = {"concurrency": needed.concurrency, "max_in_flight": needed.max_in_flight}
    now = {"batch": row.batch, "max_in_flight": row.max_in_flight, "concurrency": row.concurrency}
    changed = {key: value for key, value in sized.items() if value != now[key]}
    if not changed:
        say("the present settings carry that")
    return {**wanted, **{key: value for key, value in changed.items() if wanted[key] is None}}


def compared(before: "models.Capacity", after: "models.Capacity") -> Scaled:
    def old(was: int, now: int) -> int | None:
        return None if was == now else was

    return Scaled(
        after.queue_name, after.transport, after.workers, old(before.workers, after.workers), after.dedicated,
        after.batch, old(before.batch, after.batch), after.max_in_flight, old(before.max_in_flight, after.max_in_flight),
        after.concurrency, old(before.concurrency, after.concurrency), after.ceiling_per_s, after.limited_by,
        after.hanging_per_s, after.limits,
    )  # fmt: skip


def _follow(connection: "db.Connection", workers: int) -> None:
    """Waits for the CALLs that are no longer wanted."""
    left = scaling.wait_for_end(connection, lambda job: workers == 0 or (job.slot is not None and job.slot > workers))
    if left:
        say(f"still running: {', '.join(f'pid {job.pid}' for job in left)}; it ends with its present step")


def _advise(rows: "list[models.Capacity]", workers: int) -> None:
    net = [row for row in rows if row.transport == "pg_net"]
    if workers == 0 and net:
        say(f"nothing delivers {', '.join(row.queue_name for row in net)} now. Next: qctl scale --workers 1")
    if workers > 1:
        say("pg_net is one worker for the whole database: more jobs do not lift its ceiling")
    if workers > SUPABASE_JOBS:
        say(f"Warning: Supabase advises against more than {SUPABASE_JOBS} jobs at once")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("scale", rich_help_panel="Act")(scale)
