"""What is wrong."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that ``check`` does not find well: a cause of the closed list or a limit that is passed."""

    queue_name: str
    cause: str
    since: datetime | None
    problem: str
    value: float | None
    limit: float | None
    mend: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What ``doctor`` found: ``broken``, ``warning`` or ``note``."""

    severity: str
    kind: str
    object: str
    problem: str
    mend: str
