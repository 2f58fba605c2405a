"""The table of what queues can carry, for scale and capacity."""

from dataclasses import dataclass

from qctl import models
from qctl.output import Column


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
    ceiling_per_s: float | None
    limited_by: str
    hanging_per_s: float
    limits: list[dict[str, object]]
    wakes_per_month: int | None

    @property
    def shown_workers(self) -> str:
        """Jobs on pg_net, processes on http."""
        return "1 own" if self.dedicated else _change(self.workers_before, self.workers)

    @property
    def shown_batch(self) -> str:
        """Only on pg_net."""
        return _change(self.batch_before, self.batch) if self.transport == "pg_net" else ""

    @property
    def shown_max_in_flight(self) -> str:
        """For people."""
        return _change(self.max_in_flight_before, self.max_in_flight)

    @property
    def shown_concurrency(self) -> str:
        """Only on http."""
        return _change(self.concurrency_before, self.concurrency) if self.transport == "http" else ""


def _change(was: int | None, now: int) -> str:
    return f"{now:,}" if was is None else f"{was:,} → {now:,}"


COLUMNS = [
    Column("queue_name", "queue"),
    Column("transport", "transport"),
    Column("shown_workers", "workers", right=True),
    Column("shown_batch", "batch", right=True, wide=True),
    Column("shown_concurrency", "at once", right=True, wide=True),
    Column("shown_max_in_flight", "max in flight", right=True),
    Column("ceiling_per_s", "ceiling", lambda value: f"{value:,.0f}/s", right=True),
    Column("limited_by", "limited by", fold=True),
]


def compared(before: "models.Capacity", after: "models.Capacity") -> Scaled:
    def old(was: int, now: int) -> int | None:
        return None if was == now else was

    return Scaled(
        after.queue_name, after.transport, after.workers, old(before.workers, after.workers), after.dedicated,
        after.batch, old(before.batch, after.batch), after.max_in_flight, old(before.max_in_flight, after.max_in_flight),
        after.concurrency, old(before.concurrency, after.concurrency), after.ceiling_per_s, after.limited_by,
        after.hanging_per_s, after.limits, after.wakes_per_month,
    )  # fmt: skip
