"""What people call a database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Label:
    """What people call the database; ``is_copy`` if it carries another's label, which then protects nothing."""

    label: str
    protected: bool
    is_copy: bool


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The label that the database has now, None for none."""

    label: str | None
    protected: bool
    changed: bool
