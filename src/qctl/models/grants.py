"""What a role was granted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Granted:
    """What a role may do now; ``changed`` is false where it already might."""

    role_name: str
    level: str
    payloads: bool
    changed: bool


@dataclass(frozen=True, slots=True)
class Revoked:
    """Whether a role lost what it was granted."""

    role_name: str
    changed: bool
