"""Roles, labels and settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Granted:
    """What a role may do now; ``changed`` is false where it already might."""

    role_name: str
    level: str
    payloads: bool
    changed: bool


@dataclass(frozen=True, slots=True)
class Revoked:
    """Whether a role lost what it was granted."""

    role_name: str
    changed: bool


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


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of this tool and where it is from; never a password."""

    setting: str
    value: str | None
    source: str
