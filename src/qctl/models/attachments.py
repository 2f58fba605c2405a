"""Attached tables and their triggers."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Attachment:
    """A table whose changes are captured, and whether its triggers are there."""

    relation: str
    queue_name: str
    operations: list[str]
    when_sql: str | None
    columns: list[str] | None
    payload: str
    unchanged: bool
    level: str
    replicated: bool
    on_error: str
    max_bytes: int
    order_by: str | None
    triggers: str
    runs_as: str | None
    held: int
    created_at: datetime
    as_me: bool
    body_sql: str | None


@dataclass(frozen=True, slots=True)
class AttachedTrigger:
    """One trigger that ``attach`` made."""

    relation: str
    queue_name: str
    operation: str
    trigger_name: str
    runs_as: str


@dataclass(frozen=True, slots=True)
class ReleasedEvents:
    """Held events that were queued, and those that the attachment does not want."""

    queued: int
    dropped: int


@dataclass(frozen=True, slots=True)
class AdoptedWebhook:
    """A Supabase Database Webhook that was taken over."""

    queue_name: str
    created: bool
    relation: str
    trigger_name: str
    url: str
    transport: str
    operations: list[str]


@dataclass(frozen=True, slots=True)
class DetachedTrigger:
    """One trigger that ``detach`` dropped."""

    relation: str
    queue_name: str
    trigger_name: str
