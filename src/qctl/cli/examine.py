"""Commands that say whether all is well: check, doctor."""

from dataclasses import asdict
from typing import Annotated

import typer

from qctl import db, health, migrate, models, probe, queues
from qctl.cli import options
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.output import Column, Format, chosen, machine, render, table
from qctl.output.columns import counted, instant, number, one_line, percent, seconds, visible

_SEVERITIES = ("broken", "warning", "note")
_STYLES = {"broken": "bold red", "warning": "yellow", "note": ""}
_DURATIONS = ("lag", "age", "silence")
CAUSES = (
    "unarmed", "schema_outdated", "no_worker", "paused", "gone", "secret_missing", "circuit_open", "capture_broken",
    "endpoint_failing", "growing", "lag", "age", "depth", "dead", "failure_rate", "silence",
)  # fmt: skip


def check(
    queue: options.Queue = None,
    max_lag: Annotated[
        str, typer.Option("--max-lag", help="How long a ready message may wait for a worker.", metavar="DURATION")
    ] = "60s",
    max_age: Annotated[
        str, typer.Option("--max-age", help="How old an unfinished message may be.", metavar="DURATION")
    ] = "15m",
    max_depth: Annotated[int | None, typer.Option("--max-depth", help="Unfinished messages of a queue.", min=0)] = None,
    max_dead: Annotated[int | None, typer.Option("--max-dead", help="Dead letters of a queue.", min=0)] = None,
    max_failure_rate: Annotated[
        str, typer.Option("--max-failure-rate", help="Of at least 10 attempts within 10 min.", metavar="PERCENT")
    ] = "20%",
    max_silence: Annotated[
        str | None,
        typer.Option("--max-silence", help="How long an attachment may capture nothing.", metavar="DURATION"),
    ] = None,
    workers_seen: Annotated[
        str | None,
        typer.Option(
            "--workers-seen",
            help="How recently a worker must have reported; else 30s for processes, 90s for jobs.",
            metavar="DURATION",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="A cause that is no trouble now, paused say; may be repeated.", metavar="CAUSE"),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """One line for a monitor: exit 0 if all is well, 8 if not.

    Looks at what health knows (unarmed, schema_outdated, no_worker, paused, gone, secret_missing, circuit_open, capture_broken,
    endpoint_failing, growing) and at the limits; the line says which those are. The word none lifts one.

    Example: qctl check --max-dead 0
    """
    if unknown := [cause for cause in ignore or [] if cause not in CAUSES]:
        raise QctlError(f"no such cause: {', '.join(unknown)}", hint=", ".join(CAUSES), code=ExitCode.USAGE)
    limits = health.Limits(
        max_lag_s=_limit(max_lag),
        max_age_s=_limit(max_age),
        max_depth=max_depth,
        max_dead=max_dead,
        max_failure_rate=None if max_failure_rate.strip() == "none" else options.share(max_failure_rate),
        max_silence_s=_limit(max_silence),
        workers_seen_s=_limit(workers_seen),
        ignore=ignore or [],
    )
    with session(dsn, profile, "check") as connection:
        problems = _outdated(connection, limits)
        try:
            problems += health.check(connection, queue, limits)
            count = len(queues.some(connection, queue))
        except QctlError as error:
            # A schema so old that it knows no check is told as what it is, not as a failure of ours.
            if not problems or error.code is not ExitCode.SCHEMA_VERSION:
                raise
            count = 0
    match chosen(output):
        case Format.JSON:
            found = [machine.as_dict(problem) for problem in problems]
            machine.write_object({"ok": not problems, "queues": count, "limits": asdict(limits), "problems": found})
        case Format.TABLE | Format.PLAIN:
            typer.echo(visible(_line(problems, count, limits)))
        case _:
            render(problems, _PROBLEM_COLUMNS, output)
    if problems:
        raise typer.Exit(ExitCode.CHECK_FAILED)


_PROBLEM_COLUMNS = [
    Column("queue_name", "queue"),
    Column("cause", "cause"),
    Column("problem", "problem", one_line),
    Column("since", "since", instant),
    Column("mend", "next", one_line),
]


def _limit(text: str | None) -> float | None:
    return None if text is None or text.strip() == "none" else options.duration(text)


def _outdated(connection: "db.Connection", limits: "health.Limits") -> "list[models.Problem]":
    """What the database cannot know: it is behind this very command. One that is ahead of it is no trouble of the database."""
    try:
        pending = migrate.pending(connection)
    except QctlError as error:
        if error.code is not ExitCode.SCHEMA_VERSION:
            raise
        return []
    if not pending or "schema_outdated" in limits.ignore:
        return []
    if not migrate.is_installed(connection):
        raise QctlError(
            f"qctl is not installed in {db.where(connection)}", hint="qctl install", code=ExitCode.SCHEMA_VERSION
        )
    what = f"the schema lacks {counted(len(pending), 'file')} of this qctl"
    return [models.Problem("all queues", "schema_outdated", None, what, None, None, "qctl upgrade")]


def _line(problems: "list[models.Problem]", count: int, limits: "health.Limits") -> str:
    if problems:
        return "FAILED " + "; ".join(_told(problem) for problem in problems)
    shown = [
        ("lag", seconds, limits.max_lag_s), ("age", seconds, limits.max_age_s), ("depth", number, limits.max_depth),
        ("dead", number, limits.max_dead), ("failures", percent, limits.max_failure_rate),
        ("silence", seconds, limits.max_silence_s),
    ]  # fmt: skip
    within = ", ".join(f"{name} ≤ {write(limit)}" for name, write, limit in shown if limit is not None)
    seen = f" (seen {seconds(limits.workers_seen_s)} ago at most)" if limits.workers_seen_s else ""
    ignored = f"; ignored: {', '.join(limits.ignore)}" if limits.ignore else ""
    return f"OK {counted(count, 'queue')}: armed, workers live{seen}, none paused, triggers in place; {within}{ignored}"


def _told(problem: "models.Problem") -> str:
    value = ""
    if problem.value is not None and problem.limit is not None:
        write = seconds if problem.cause in _DURATIONS else percent if problem.cause == "failure_rate" else number
        value = f"{write(problem.value)} (limit {write(problem.limit)}) "
    since = f" (since {instant(problem.since)})" if problem.since else ""
    return f"{problem.queue_name} {problem.cause}: {value}{one_line(problem.problem)}{since}"


def doctor(
    probe_: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Also ask each endpoint, with HEAD: does it redirect, does TLS fail, may a worker go there?",
        ),
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Everything that is wrong or will be, with what to type. Exit 8 if something is broken.

    Looks at health, all that verify looks at, versions, settings, roles, jobs, failures, vacuum, disk and load.
    broken stops or loses deliveries, a warning will or may, a note is good to know.

    Example: qctl doctor --probe
    """
    with session(dsn, profile, "doctor") as connection:
        if not migrate.is_installed(connection):
            raise QctlError(
                f"qctl is not installed in {db.where(connection)}", hint="qctl install", code=ExitCode.SCHEMA_VERSION
            )
        found = [
            models.Diagnosis(
                "broken", "database", problem.queue_name, f"{problem.cause}: {problem.problem}", problem.mend
            )
            for problem in _outdated(connection, health.Limits())
        ]
        try:
            found += health.diagnose(connection)
        except QctlError as error:
            if not found or error.code is not ExitCode.SCHEMA_VERSION:
                raise
        found += _pooler(connection)
        if probe_:
            for row in queues.listed(connection):
                found += probe.endpoint(queues.described(connection, row.queue_name))
    found.sort(key=lambda row: _SEVERITIES.index(row.severity))
    if chosen(output) is Format.TABLE:
        table.write_findings([
            (row.severity, _STYLES[row.severity], one_line(f"{row.kind} {row.object}: {row.problem}"), one_line(row.mend))
            for row in found
        ])  # fmt: skip
    elif found or output:
        fields = ("severity", "kind", "object", "problem", "mend")
        render(found, [Column(field, field, one_line) for field in fields], output)
    broken = sum(row.severity == "broken" for row in found)
    if broken:
        raise QctlError(
            f"{broken} broken, {counted(len(found) - broken, 'other finding')}",
            hint="type what stands with each",
            code=ExitCode.CHECK_FAILED,
        )
    say("nothing is broken" if found else "all is well")


def _pooler(connection: "db.Connection") -> "list[models.Diagnosis]":
    if not db.is_pooled(connection):
        return []
    return [
        models.Diagnosis(
            "note",
            "connection",
            db.where(connection),
            "a pooler stands between, so a worker here polls once a second; where it pools sessions, --listen wakes it at once",
            "qctl worker --listen behind a session pooler, or connect to the server itself",
        )
    ]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (check, doctor):
        app.command(function.__name__, rich_help_panel="Look")(function)
