"""Scaling: jobs of pg_cron, what a queue can carry, and what more would need."""

import time
from collections.abc import Callable

from qctl import db
from qctl.models import Capacity, DatabaseShare, Job, JobChange, Plan, RunningJob, Sizing

LOOK_S = 0.1


def capacities(connection: db.Connection, queue: str | None) -> list[Capacity]:
    """What each queue, or one, can carry, and what limits it."""
    return db.call(connection, Capacity, "capacity", queue=queue)


def database_share(connection: db.Connection) -> DatabaseShare | None:
    """What delivery takes from the database at the rate of the last 10 minutes; None where that is next to nothing."""
    return next(iter(db.call(connection, DatabaseShare, "database_share")), None)


def sizing(connection: db.Connection, queue: str, per_s: float) -> Sizing:
    """The settings with which a queue carries ``per_s`` messages a second."""
    return db.call(connection, Sizing, "sizing", queue=queue, per_s=per_s)[0]


def plan(connection: db.Connection, per_s: float, **assumed: object) -> Plan:
    """What so many messages a second need; ``assumed`` are the parameters of ``qctl.plan`` that are known."""
    known = {name: value for name, value in assumed.items() if value is not None}
    return db.call(connection, Plan, "plan", per_s=per_s, **known)[0]


def scale(connection: db.Connection, **wanted: object) -> list[JobChange]:
    """Sets workers, dedicated, batch, max_in_flight and concurrency, those that are given; returns what became of jobs.

    Raises:
        QctlError: no pg_cron here (4), no such queue (6), more than half of pg_cron's slots (7).
    """
    return db.call(
        connection, JobChange, "scale", **{name: value for name, value in wanted.items() if value is not None}
    )


def jobs(connection: db.Connection) -> list[Job]:
    """Our jobs in pg_cron, as far as this role may see them."""
    return db.call(connection, Job, "jobs")


def stop(connection: db.Connection) -> list[JobChange]:
    """Unschedules all our jobs and tells running CALLs to end."""
    return db.call(connection, JobChange, "stop_jobs")


def running(connection: db.Connection) -> list[RunningJob]:
    """The CALLs of ``qctl.work`` that run now."""
    return db.call(connection, RunningJob, "running_jobs")


def wait_for_end(
    connection: db.Connection, is_one: Callable[[RunningJob], bool], timeout_s: float = 5.0
) -> list[RunningJob]:
    """Waits until none of the running CALLs for which ``is_one`` holds is left, and returns those that are after all."""
    until = time.monotonic() + timeout_s
    seen_none = 0
    # Twice, for a CALL holds its lock per transaction and is unseen for an instant between two.
    while seen_none < 2:
        left = [job for job in running(connection) if is_one(job)]
        if left and time.monotonic() > until:
            return left
        seen_none = 0 if left else seen_none + 1
        time.sleep(LOOK_S)
    return []
