"""Health: what is not well by a monitor's limits, and everything that is wrong or will be."""

from dataclasses import asdict, dataclass, field

from qctl import db, sqlfiles
from qctl.models import Diagnosis, Problem


@dataclass(frozen=True, slots=True)
class Limits:
    """What ``check`` calls too much; None: no limit. ``ignore`` names causes that are no trouble now.

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


def check(connection: db.Connection, queue: str | None, limits: Limits) -> list[Problem]:
    """What is not well, of all queues or of one; nothing: all is well.

    Raises:
        QctlError: no such queue (6).
    """
    return db.fetch(connection, Problem, sqlfiles.query("check"), {"queue": queue, **asdict(limits)})


def diagnose(connection: db.Connection) -> list[Diagnosis]:
    """Everything that is wrong, or will be, or is good to know."""
    return db.fetch(connection, Diagnosis, sqlfiles.query("doctor"))
