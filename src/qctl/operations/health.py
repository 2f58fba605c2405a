"""Health: what exceeds a monitor's limits, and everything that is wrong or soon will be."""

from dataclasses import asdict, dataclass, field

from qctl import db
from qctl.db import files
from qctl.errors import UsageError
from qctl.models import Cause, Diagnosis, Finding, Problem, Stop
from qctl.operations import migrate


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of ``check``; None: no limit. ``ignore`` names causes to leave out.

    ``max_lag_s``, ``max_age_s``, ``max_silence_s`` and ``workers_seen_s`` are seconds, ``max_failure_rate`` a share of 1.
    """

    max_lag_s: float | None = 60
    max_age_s: float | None = 900
    max_depth: int | None = None
    max_dead: int | None = None
    max_failure_rate: float | None = 0.2
    max_silence_s: float | None = None
    workers_seen_s: float | None = None
    ignore: list[str] = field(default_factory=list)


NO_LIMITS = Limits(None, None, None, None, None, None)


def check(connection: db.Connection, queue: str | None, limits: Limits) -> list[Problem]:
    """The problems of all queues or of one.

    Raises:
        QctlError: no such queue (6).
    """
    return db.fetch(connection, Problem, files.query("check"), {"queue": queue, **asdict(limits)})


def findings(connection: db.Connection, queue: str | None, limits: Limits) -> list[Finding]:
    """What :func:`check` finds, one for each fault however many queues it concerns, the most dangerous first.

    Raises:
        QctlError: no such queue (6).
    """
    return db.fetch(connection, Finding, files.query("findings"), {"queue": queue, **asdict(limits)})


def delivery_stop(connection: db.Connection, queue: str) -> Stop | None:
    """What stops the delivery of a queue now, which need not be the worst cause.

    Raises:
        QctlError: no such queue (6).
    """
    return next(iter(db.call(connection, Stop, "delivery_stop", queue=queue)), None)


def allowing(connection: db.Connection, queue: str) -> str | None:
    """The command that allows the address of a queue's endpoint; None where it is not refused."""
    found = diagnose(connection, queue)
    return next(
        (row.fix for row in found if row.severity == "broken" and row.fix and "--allow-private" in row.fix), None
    )


def causes(connection: db.Connection) -> list[Cause]:
    """Every cause that health and ``check`` can name, the worst first."""
    return db.call(connection, Cause, "health_causes")


def refuse_unknown_causes(connection: db.Connection, given: list[str]) -> None:
    """Refuses causes that do not exist.

    Raises:
        UsageError: one does not.
    """
    if not given:
        return
    known = [cause.cause for cause in causes(connection)]
    if unknown := sorted(set(given) - set(known)):
        raise UsageError(f"no such cause: {', '.join(unknown)}", hint=", ".join(known))


def outdated(connection: db.Connection, limits: Limits) -> list[Problem]:
    """The problem that the schema is behind this command, unless that is ignored."""
    if migrate.lacks_data(connection):
        what = "schema 'qctl' is here without its data, as a schema-only dump leaves it"
        return [Problem("all queues", "schema_outdated", None, what, None, None, "qctl upgrade --repair")]
    what = None if "schema_outdated" in limits.ignore else migrate.outdated(connection)
    return [Problem("all queues", "schema_outdated", None, what, None, None, "qctl upgrade")] if what else []


def diagnose(connection: db.Connection, queue: str | None) -> list[Diagnosis]:
    """Everything that is wrong, or soon will be, or is worth knowing; or what of that concerns one queue.

    Raises:
        QctlError: no such queue (6).
    """
    return db.fetch(connection, Diagnosis, files.query("doctor"), {"queue": queue})
