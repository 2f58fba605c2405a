"""What check and doctor find."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause that a queue is not healthy.

    ``stops`` is ``delivery``, ``capture`` or None; ``danger`` counts from 1, where data is lost; beside it the causes that it
    ``explains`` are not told.
    """

    cause: str
    stops: str | None
    scope: str
    danger: int
    explains: list[str]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that ``check`` does not find well: a cause of the closed list or a limit that is passed.

    ``fix`` is None where it ends by itself and nothing need be typed.
    """

    queue_name: str
    cause: str
    since: datetime | None
    problem: str
    value: float | None
    limit: float | None
    fix: str | None


@dataclass(frozen=True, slots=True)
class Stop:
    """Why no message of a queue is delivered now; ``fix`` as of :class:`Problem`."""

    cause: str
    since: datetime | None
    reason: str
    fix: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, and the queues that it concerns; ``danger`` and ``fix`` as of :class:`Cause` and :class:`Problem`."""

    queues: list[str]
    cause: str
    danger: int
    since: datetime | None
    problem: str
    value: float | None
    limit: float | None
    fix: str | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What ``doctor`` found: ``broken``, ``warning`` or ``note``; ``fix`` is None where it ends by itself."""

    severity: str
    kind: str
    object: str
    problem: str
    fix: str | None
