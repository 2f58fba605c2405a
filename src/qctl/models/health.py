"""What check and doctor find."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause that a queue is not healthy: what it stops (``delivery``, ``capture`` or nothing), and its scope."""

    cause: str
    stops: str | None
    scope: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that ``check`` does not find well: a cause of the closed list or a limit that is passed."""

    queue_name: str
    cause: str
    since: datetime | None
    problem: str
    value: float | None
    limit: float | None
    fix: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What ``doctor`` found: ``broken``, ``warning`` or ``note``."""

    severity: str
    kind: str
    object: str
    problem: str
    fix: str
