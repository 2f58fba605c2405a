"""How long a worker works."""

from enum import Enum


class Mode(Enum):
    """How long a worker works: for ever, one round of claims, or until nothing is ready."""

    FOREVER = "forever"
    ONCE = "once"
    DRAIN = "drain"
