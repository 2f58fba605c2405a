"""Signing secrets and header secrets, without their values."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RotatedSecret:
    """A new signing secret, the only time that it is shown; ``mark`` tells it apart later."""

    queue_name: str
    secret_id: int
    mark: str
    secret: str
    replaced: int
    replaced_until: datetime | None


@dataclass(frozen=True, slots=True)
class RevokedSecret:
    """A signing secret that signs no more."""

    queue_name: str
    secret_id: int
    mark: str
    left_signing: int


@dataclass(frozen=True, slots=True)
class HeaderSecretSet:
    """The name of a header's value that was kept, and the queues that send it."""

    name: str
    changed: bool
    used_by: list[str]


@dataclass(frozen=True, slots=True)
class HeaderSecretGone:
    """The name of a header's value that was forgotten."""

    name: str


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, without the secret: ``kind`` is signing or header, ``there`` is false of one expired or only named."""

    kind: str
    name: str
    secret_id: int | None
    mark: str | None
    created_at: datetime | None
    created_by: str | None
    expires_at: datetime | None
    there: bool
    used_by: list[str]
