"""Rich styles of values that several commands show."""

from typing import Any

_HEALTH = {"ok": "green", "paused": "yellow"}
_STATES = {"delivered": "green", "dead": "bold red", "retrying": "yellow", "in_flight": "cyan"}
_OUTCOMES = {
    "delivered": "green",
    "retrying": "yellow",
    "paused": "yellow",
    "late": "dim",
    "dead": "bold red",
    "lost": "red",
    "next": "bold",
    "in_flight": "cyan",
    "lapsed": "yellow",
}


def health(value: Any) -> str:
    """Of a queue's health."""
    return _HEALTH.get(value, "bold red")


def dead(value: Any) -> str:
    """Of a number of dead letters."""
    return "red" if value else ""


def state(value: Any) -> str:
    """Of a message's state."""
    return _STATES.get(value, "")


def outcome(value: Any) -> str:
    """Of an attempt's outcome, or of another event in a message's life."""
    return _OUTCOMES.get(value, "")
