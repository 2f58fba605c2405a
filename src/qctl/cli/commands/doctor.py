"""Everything that is wrong or will be."""

from typing import Annotated

import typer

from qctl import db, models
from qctl.cli import options, runbooks
from qctl.cli.console import say
from qctl.cli.named_connection import in_fixes
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.operations import health, migrate, probe, queues
from qctl.output import Column, Format, chosen, render, table
from qctl.output.columns import counted, one_line

_SEVERITIES = ("broken", "warning", "note")


_STYLES = {"broken": "bold red", "warning": "yellow", "note": ""}


def command(
    queue: options.Queue = None,
    probe_: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Also send a HEAD request to each endpoint: does it redirect, does TLS fail, may a worker send there?",
        ),
    ] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Everything that is wrong or soon will be, with what to type. Exit 8 if something is broken.

    Checks health, everything that verify checks, versions, settings, roles, jobs, failures, vacuum, disk and load.
    broken: deliveries stop or are lost; warning: they will or may be; note: worth knowing. With -q only what concerns that queue.

    Example: qctl doctor --probe
    """
    with session(dsn, profile, "doctor") as connection:
        migrate.require_installed(connection)
        found = [
            models.Diagnosis(
                "broken", "database", problem.queue_name, f"{problem.cause}: {problem.problem}", problem.fix
            )
            for problem in health.outdated(connection, health.Limits())
        ]
        try:
            found += health.diagnose(connection, queue)
        except QctlError as error:
            if not found or error.code is not ExitCode.SCHEMA_VERSION:
                raise
        found += _pooler(connection) if queue is None else []
        if probe_:
            for name in queues.some(connection, queue):
                found += probe.endpoint(queues.described(connection, name))
    found = in_fixes(found)
    found.sort(key=lambda row: _SEVERITIES.index(row.severity))
    if chosen(output) is Format.TABLE:
        table.write_findings([
            (row.severity, _STYLES[row.severity], one_line(f"{row.kind} {row.object}: {row.problem}"), _commands(row))
            for row in found
        ])  # fmt: skip
    elif found or output:
        fields = ("severity", "kind", "object", "problem", "fix")
        render(found, [Column(field, field, one_line) for field in fields], output)
    broken = sum(row.severity == "broken" for row in found)
    if broken:
        raise QctlError(
            f"{broken} broken" + (f", {counted(len(found) - broken, 'other finding')}" if len(found) > broken else ""),
            hint="run the command shown with each finding" if any(row.fix for row in found) else None,
            code=ExitCode.CHECK_FAILED,
        )
    say("nothing is broken" if found else "everything is fine")


def _commands(row: "models.Diagnosis") -> list[str]:
    """What fixes a finding, and what tells more about it."""
    page = runbooks.page_of(row.problem.partition(":")[0], row.fix)
    if page is None and row.kind == "attachment":
        page = runbooks.PAGES["capture_broken"]
    if page is None and (row.fix or "").startswith("qctl dead"):
        page = runbooks.PAGES["dead"]
    return [*([one_line(row.fix)] if row.fix else []), *([f"more: qctl help {page}"] if page else [])]


def _pooler(connection: "db.Connection") -> "list[models.Diagnosis]":
    if not db.is_pooled(connection):
        return []
    return [
        models.Diagnosis(
            "note",
            "connection",
            db.where(connection),
            "it goes through a pooler, so a worker here polls once a second; behind a session pooler --listen wakes it at once",
            "qctl worker --all --listen, behind a session pooler; or connect to the server itself",
        )
    ]
