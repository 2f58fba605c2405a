"""Messages: one, many, and what was done to them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it stands now, wherever it is."""

    queue_name: str
    msg_id: int
    state: str
    webhook_id: str
    enqueued_at: datetime | None
    visible_at: datetime | None
    finished_at: datetime | None
    delivery_no: int
    attempts: int
    lost: int
    next_at: datetime | None
    last_status: int | None
    last_error: str | None
    reason: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class MessageListed:
    """A message with its last attempt, as ``messages`` lists it."""

    queue_name: str
    msg_id: int
    state: str
    webhook_id: str
    enqueued_at: datetime | None
    visible_at: datetime | None
    finished_at: datetime | None
    delivery_no: int
    attempts: int
    lost: int
    next_at: datetime | None
    reason: str | None
    note: str | None
    last_attempt_at: datetime | None
    status_code: int | None
    error: str | None
    response: str | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class Payload:
    """What a message carries."""

    msg_id: int
    headers: Any
    message: Any


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """Something that happened to a message, or what comes next; ``actor`` is a role or a worker.

    ``until`` is when an attempt's wait, or a lease, ends or ended.
    """

    at: datetime | None
    event: str
    delivery_no: int | None
    attempt_no: int | None
    status_code: int | None
    duration_ms: int | None
    error: str | None
    response: str | None
    actor: str | None
    detail: str | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """Dead letters of one reason and status, with their most frequent error or note, or how the last answer began."""

    queue_name: str
    reason: str
    status_code: int | None
    error: str | None
    messages: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Replayed:
    """What ``replay`` did to one id."""

    msg_id: int
    outcome: str


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that ``send`` enqueued, or that was there already under its dedup key."""

    queue_name: str
    msg_id: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class SentOnce:
    """The one message of a dedup key; ``duplicate`` if it was sent before."""

    msg_id: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class ReplayedMessage:
    """What ``replay`` did to one message of a queue."""

    queue_name: str
    msg_id: int
    outcome: str
