"""One setting of the command line."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of this tool and where it is from; never a password."""

    setting: str
    value: str | None
    source: str
