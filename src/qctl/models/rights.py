"""What a role may do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rights:
    """A role, the role that installed qctl, and which access levels the first one has."""

    role_name: str
    owner: str
    owns: bool
    reads: bool
    operates: bool
    works: bool
