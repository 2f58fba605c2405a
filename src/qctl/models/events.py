"""Where operational events go."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class EventRoute:
    """The queue that operational events go into."""

    queue_name: str
    url: str
    throttle_s: int
    set_at: datetime
    set_by: str
    format: str


@dataclass(frozen=True, slots=True)
class EventRouteSet:
    """Where events go from now on; None: nowhere. ``secret`` signs them, if it had to be made: shown this once."""

    queue_name: str | None
    throttle_s: int | None
    format: str | None
    changed: bool
    secret: str | None = None
