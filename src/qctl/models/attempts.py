"""Attempts at a message."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP try of one message, settled, or under way when ``outcome`` is ``in_flight`` or ``lapsed``."""

    queue_name: str
    msg_id: int
    delivery_no: int
    attempt_no: int
    outcome: str
    status_code: int | None
    duration_ms: int | None
    claimed_at: datetime
    settled_at: datetime | None
    next_at: datetime | None
    error: str | None
    response: str | None
    worker: str | None
    transport: str


@dataclass(frozen=True, slots=True)
class AttemptTotal:
    """How many attempts of an outcome, status and duration there were since the queue was made.

    ``status_code`` is None for no answer; ``up_to_s`` the inclusive upper bound of the duration in seconds, None where it was not
    measured; ``took_s`` the sum of the durations.
    """

    queue_name: str
    outcome: str
    status_code: int | None
    up_to_s: float | None
    attempts: int
    took_s: float
