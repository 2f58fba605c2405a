"""Messages for who looks on."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Copy:
    """A message as it would be sent, without what is secret. ``body`` is None where it was not asked for."""

    msg_id: int
    webhook_id: str
    headers: dict[str, str]
    body: str | None


@dataclass(frozen=True, slots=True)
class CopiesBegin:
    """Which queue it is, its newest message, the oldest transaction that runs, and the next one that will begin."""

    queue_uuid: UUID
    newest: int
    oldest_running: str
    next_transaction: str
