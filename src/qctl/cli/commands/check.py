"""One line for a monitor."""

from dataclasses import asdict
from typing import Annotated

import typer

from qctl import models
from qctl.cli import options
from qctl.cli.named_connection import in_fixes
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.operations import health, queues
from qctl.output import Column, Format, chosen, machine, render
from qctl.output.columns import counted, instant, number, one_line, percent, seconds, visible

_PROBLEM_COLUMNS = [
    Column("queue_name", "queue"),
    Column("cause", "cause"),
    Column("problem", "problem", one_line),
    Column("since", "since", instant),
    Column("fix", "fix", one_line),
]


_DURATIONS = ("lag", "age", "silence")

# Characters of the line, which monitors put into a message; queues that are named, more are counted.
_LONGEST = 400
_NAMED = 3


def command(
    queue: options.Queue = None,
    max_lag: Annotated[
        str,
        typer.Option(
            "--max-lag",
            help="Longest time that a ready message may wait for a worker; none: no limit.",
            metavar="DURATION",
        ),
    ] = "60s",
    max_age: Annotated[
        str, typer.Option("--max-age", help="Largest age of an unfinished message; none: no limit.", metavar="DURATION")
    ] = "15m",
    max_depth: Annotated[
        int | None, typer.Option("--max-depth", help="Most unfinished messages of a queue.", min=0)
    ] = None,
    max_dead: Annotated[int | None, typer.Option("--max-dead", help="Most dead letters of a queue.", min=0)] = None,
    max_failure_rate: Annotated[
        str,
        typer.Option(
            "--max-failure-rate",
            help="Largest share of failures among at least 10 attempts within 10 min.",
            metavar="PERCENT",
        ),
    ] = "20%",
    max_silence: Annotated[
        str | None,
        typer.Option("--max-silence", help="Longest time that an attachment may capture nothing.", metavar="DURATION"),
    ] = None,
    workers_seen: Annotated[
        str,
        typer.Option(
            "--workers-seen",
            help="Longest time since a worker reported or ended; of a job at least 90s.",
            metavar="DURATION",
        ),
    ] = "30s",
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="Ignore this cause, for example paused; may be repeated.", metavar="CAUSE"),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """One line for a monitor: exit 0 if all is well, 8 if not.

    Checks every cause that health knows (table_missing, capture_broken, unarmed, schema_outdated, no_worker, secret_missing,
    address_refused, gone, paused, circuit_open, endpoint_failing, growing) and the limits, which the line names. The value none
    removes a limit. What another cause explains is not told: a paused queue that grows is paused. At most 400 characters, the
    worst first; -o json has everything.

    Example: qctl check --max-dead 0
    """
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
    as_line = chosen(output) in (Format.TABLE, Format.PLAIN)
    problems: list[models.Problem] = []
    findings: list[models.Finding] = []
    count = 0
    with session(dsn, profile, "check") as connection:
        outdated = health.outdated(connection, limits)
        try:
            health.refuse_unknown_causes(connection, limits.ignore)
            if as_line:
                findings = health.findings(connection, queue, limits)
            else:
                problems = health.check(connection, queue, limits)
            count = len(queues.some(connection, queue))
        except QctlError as error:
            # A schema that is too old to have a check is reported as outdated, not as an error.
            if not outdated or error.code is not ExitCode.SCHEMA_VERSION:
                raise
    problems = in_fixes([*outdated, *problems])
    if as_line:
        typer.echo(visible(_line([*map(_told_problem, outdated), *map(_told, in_fixes(findings))], count, limits)))
    elif chosen(output) is Format.JSON:
        found = [machine.as_dict(problem) for problem in problems]
        machine.write_object({"ok": not problems, "queues": count, "limits": asdict(limits), "problems": found})
    else:
        render(problems, _PROBLEM_COLUMNS, output)
    if problems or findings:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _limit(text: str | None) -> float | None:
    return None if text is None or text.strip() == "none" else options.duration(text)


def _line(told: list[tuple[str, str | None]], count: int, limits: "health.Limits") -> str:
    if told:
        return _failed(told)
    shown = [
        ("lag", seconds, limits.max_lag_s), ("age", seconds, limits.max_age_s), ("depth", number, limits.max_depth),
        ("dead", number, limits.max_dead), ("failures", percent, limits.max_failure_rate),
        ("silence", seconds, limits.max_silence_s),
    ]  # fmt: skip
    within = ", ".join(f"{name} ≤ {write(limit)}" for name, write, limit in shown if limit is not None)
    seen = f"seen within {seconds(limits.workers_seen_s)}" if limits.workers_seen_s else "live"
    ignored = f"; ignored: {', '.join(limits.ignore)}" if limits.ignore else ""
    return f"OK {counted(count, 'queue')}: armed, workers {seen}, none paused, triggers in place; {within}{ignored}"


def _failed(told: list[tuple[str, str | None]]) -> str:
    """As many of the findings as fit, the worst first, and how many more there are."""
    line = ""
    for place, (finding, fix) in enumerate(told):
        more = f"; +{len(told) - place - 1} more, see -o json" if told[place + 1 :] else ""
        added = f"{line}; {finding}" if line else f"FAILED {finding}"
        if line and len(added) + len(more) > _LONGEST:
            more = f"; +{len(told) - place} more, see -o json"
            return _cut(line, _LONGEST - len(more)) + more
        fixed = f"{added} → {fix}"
        line = fixed if fix and len(fixed) + len(more) <= _LONGEST else added
    return _cut(line, _LONGEST)


def _cut(line: str, most: int) -> str:
    """A line of so many characters; a command at its end is left out rather than cut."""
    if len(line) > most:
        line = line.rpartition("; see: ")[0] or line
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _told(finding: "models.Finding") -> tuple[str, str | None]:
    value = ""
    if finding.value is not None and finding.limit is not None:
        write = seconds if finding.cause in _DURATIONS else percent if finding.cause == "failure_rate" else number
        value = f"{write(finding.value)} (limit {write(finding.limit)}) "
    since = f" (since {instant(finding.since)})" if finding.since else ""
    named = ", ".join(finding.queues) if len(finding.queues) <= _NAMED else counted(len(finding.queues), "queue")
    return f"{named} {finding.cause}: {value}{one_line(finding.problem)}{since}", finding.fix


def _told_problem(problem: "models.Problem") -> tuple[str, str | None]:
    return f"{problem.queue_name} {problem.cause}: {one_line(problem.problem)}", problem.fix
