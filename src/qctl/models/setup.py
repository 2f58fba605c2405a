"""What installing, making and dropping did."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One migration or routine file that an install or upgrade applied or would apply."""

    kind: str
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class CreatedQueue:
    """What ``create`` did; ``reason`` says why this transport."""

    queue_name: str
    created: bool
    waiting: int
    skipped: int
    transport: str
    reason: str
    switched_off: list[str]


@dataclass(frozen=True, slots=True)
class TransportChoice:
    """What a wanted transport comes to in this database, and why."""

    transport: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What ``apply`` would do: ``create``, ``change``, ``leave``, or nothing to what is ``extra``."""

    action: str
    kind: str
    object: str
    queue_name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Undeclared:
    """A queue or an attachment that a file does not name."""

    kind: str
    name: str
    queue_name: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What would be given up with a queue; None where pgmq's table is gone."""

    queue_name: str
    unfinished: int | None
    dead: int
    archived: int | None
    attached: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What was moved to the archive before a drop."""

    discarded: int
    dead: int


@dataclass(frozen=True, slots=True)
class DroppedQueue:
    """What ``drop`` did; ``archive`` is the table that stays."""

    queue_name: str
    discarded: int
    dead: int
    archived: int | None
    archive: str | None


@dataclass(frozen=True, slots=True)
class Remains:
    """What ``uninstall`` leaves of a queue, in pgmq's tables."""

    queue_name: str
    unfinished: int | None
    archived: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that differs from what was installed, and what mends it."""

    kind: str
    object: str
    problem: str
    mend: str
