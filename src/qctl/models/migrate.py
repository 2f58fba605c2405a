"""What an install, an upgrade, verify or an uninstall reports."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One migration or routine file that an install or upgrade applied or would apply."""

    kind: str
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that differs from what was installed, and the command that fixes it."""

    kind: str
    object: str
    problem: str
    fix: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """Something that ``upgrade --repair`` made again, and what of it cannot come back."""

    kind: str
    object: str
    problem: str


@dataclass(frozen=True, slots=True)
class Remains:
    """What ``uninstall`` leaves of a queue, in pgmq's tables."""

    queue_name: str
    unfinished: int | None
    archived: int | None
