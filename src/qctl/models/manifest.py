"""What stands between a file and the database."""

from dataclasses import dataclass


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
