"""Values as text on a page."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from qctl.output import columns
from qctl.output.columns import visible


def instant(value: datetime | None) -> Markup:
    """A time, which the script of the page writes in the reader's own zone."""
    if value is None:
        return Markup("")
    at = value.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S"))


def seconds(value: float | None) -> str:
    """A duration."""
    return "" if value is None else columns.seconds(value)


def number(value: float | None) -> str:
    """A count."""
    return "" if value is None else columns.number(value)


def pretty(value: Any) -> str:
    """JSON over several lines; what a terminal would act on is made visible, as everywhere."""
    return "\n".join(visible(line) for line in json.dumps(value, indent=2, ensure_ascii=False, default=str).split("\n"))


def plain(value: str) -> str:
    """A text of others over several lines, with what a terminal would act on made visible."""
    return "\n".join(visible(line) for line in value.split("\n"))


def spark(values: list[int]) -> Markup:
    """A line of bars, read out as its sum."""
    top = max([*values, 1])
    bars = Markup("").join(
        Markup('<rect x="{}" y="{}" width="3" height="{}"/>').format(
            at * 4, 20 - round(value / top * 18), max(1, round(value / top * 18))
        )
        for at, value in enumerate(values)
        if value
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 240 20" role="img" aria-label="{} in the last hour">{}</svg>'
    ).format(f"{sum(values):,} delivered", bars)


def pretty_error(value: str | None) -> str:
    """An error on one line."""
    return "" if value is None else columns.one_line(value)


FILTERS: dict[str, Callable[..., Any]] = {
    "instant": instant,
    "seconds": seconds,
    "number": number,
    "pretty": pretty,
    "spark": spark,
    "plain": plain,
    "line": pretty_error,
}
