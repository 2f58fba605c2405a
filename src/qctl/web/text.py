"""Values as text on a page."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from qctl.models import Answers, Hour
from qctl.output import columns
from qctl.output.columns import visible

_TALL = 100
_MOST_TEXT = 256 * 1024


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
    """JSON over several lines, the beginning of what is long; what a terminal would act on is made visible, as everywhere."""
    whole = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    shown = "\n".join(visible(line) for line in whole[:_MOST_TEXT].split("\n"))
    return shown if len(whole) <= _MOST_TEXT else f"{shown}\n… and {len(whole) - _MOST_TEXT:,} characters more"


def linked(sentence: str) -> Markup:
    """A sentence whose command for a message leads to the page of that message."""
    return Markup(
        re.sub(
            r"(qctl [^;()]*?show (?:--[a-z-]+ \S+ )*)([a-z_][a-z0-9_]*)/([0-9]{1,18})\b",
            lambda found: f'{found[1]}<a href="/messages/{found[2]}/{found[3]}">{found[2]}/{found[3]}</a>',
            str(escape(sentence)),
        )
    )


def plain(value: str) -> str:
    """A text of others over several lines, with what a terminal would act on made visible."""
    return "\n".join(visible(line) for line in value.split("\n"))


def spark(hour: Hour) -> Markup:
    """The last hour as a line of bars, read out as its sums."""
    return _bars(hour, "spark", f"{sum(hour.delivered):,} delivered and {sum(hour.failed):,} failed in the last hour")


def busiest(hour: Hour) -> int:
    """The attempts of the busiest minute, 1 at least."""
    return max([*map(sum, zip(hour.delivered, hour.failed, strict=True)), 1])


def throughput(hour: Hour) -> Markup:
    """The attempts of each minute of the last hour, read out as their sums."""
    sums = f"{sum(hour.delivered):,} delivered, {sum(hour.failed):,} failed, {busiest(hour):,} in the busiest minute"
    return _bars(hour, "chart", f"Attempts in each minute of the last hour: {sums}")


def _bars(hour: Hour, name: str, read_out: str) -> Markup:
    """Failed attempts upon delivered ones."""
    top = busiest(hour)

    def bars(values: list[int], below: list[int], kind: str) -> Markup:
        return Markup("").join(
            Markup('<rect class="{}" x="{}" y="{:.2f}" width="8" height="{:.2f}"/>').format(
                kind, at * 10, _TALL - (value + base) / top * _TALL, value / top * _TALL
            )
            for at, (value, base) in enumerate(zip(values, below, strict=True))
            if value
        )

    none = [0] * len(hour.delivered)
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>'
    ).format(
        name, len(hour.delivered) * 10, _TALL, read_out, bars(hour.delivered, none, "delivered"),
        bars(hour.failed, hour.delivered, "failed"),
    )  # fmt: skip


def durations(rows: list[Answers]) -> list[tuple[str, int, int]]:
    """How many attempts took how long: up to what, how many of them delivered, and how many failed."""
    if not rows:
        return []
    names = [f"up to {seconds(bound)}" for bound in rows[0].bounds_s] + [f"over {seconds(rows[0].bounds_s[-1])}"]

    def counted(at: int, *, delivered: bool) -> int:
        return sum(row.counts[at] for row in rows if row.delivered is delivered)

    sums = [(name, counted(at, delivered=True), counted(at, delivered=False)) for at, name in enumerate(names)]
    filled = [at for at, (_, delivered, failed) in enumerate(sums) if delivered or failed]
    return sums[filled[0] : filled[-1] + 1] if filled else []


def pretty_error(value: str | None) -> str:
    """An error on one line."""
    return "" if value is None else columns.one_line(value)


FILTERS: dict[str, Callable[..., Any]] = {
    "instant": instant,
    "seconds": seconds,
    "number": number,
    "spark": spark,
    "busiest": busiest,
    "throughput": throughput,
    "durations": durations,
    "plain": plain,
    "line": pretty_error,
}
