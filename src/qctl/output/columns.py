"""What a column for people is, and how its values are written."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the rows under a title.

    Where the terminal has no room for all of them, ``cut`` columns end in an ellipsis; if that is not enough, ``fold`` columns
    go on in the next line, and then ``wide`` columns are left out, the last first; the others keep their width. ``style`` gives
    a Rich style for a value. ``of`` writes it from the whole row.
    """

    field: str
    title: str
    write: Callable[[Any], str] = str
    right: bool = False
    wide: bool = False
    fold: bool = False
    cut: bool = False
    style: Callable[[Any], str] | None = None
    of: Callable[[Any], str] | None = None

    def text(self, row: Any) -> str:
        """The value of a row as people read it; nothing for None."""
        if self.of is not None:
            return visible(self.of(row))
        value = getattr(row, self.field)
        return "" if value is None else visible(self.write(value))


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """A text without characters that a terminal obeys: a name of somebody else's may hold them. Line breaks and tabs stay."""
    return text.translate(_CONTROLS)


def seconds(value: float) -> str:
    """A duration in seconds as its two largest units: ``3m 12s``."""
    if value < 0:
        return f"-{seconds(-value)}"
    if value < 1:
        return f"{value * 1000:.0f}ms"
    if value < 10:
        return f"{value:.1f}s".replace(".0s", "s")
    left = round(value)
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0"))


def milliseconds(value: int) -> str:
    """A duration in milliseconds, as :func:`seconds`."""
    return seconds(value / 1000)


def size(value: int) -> str:
    """Bytes in binary units."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


_zone_is_due = False


def zone_to_name() -> str | None:
    """The zone of the times that were written since the last call; None if there were none."""
    global _zone_is_due
    due, _zone_is_due = _zone_is_due, False
    return zone() if due else None


def zone() -> str:
    """The local zone: ``UTC``, or its name with its distance from UTC, ``CET (UTC+01:00)``."""
    now = datetime.now().astimezone()
    name, offset = now.strftime("%Z"), now.strftime("%z")
    distance = f"UTC{offset[:3]}:{offset[3:5]}"
    return name if name == "UTC" else distance if name[:1] in "+-" else f"{name} ({distance})"


def instant(value: datetime) -> str:
    """Local time of day, with the date in front when that is another day."""
    global _zone_is_due
    _zone_is_due = True
    local = value.astimezone()
    return local.strftime("%H:%M:%S" if local.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M:%S")


def ago(value: datetime) -> str:
    """How long ago an instant is."""
    return seconds(max(0.0, (datetime.now().astimezone() - value).total_seconds()))


def percent(value: float) -> str:
    """A share of 1."""
    return f"{value:.0%}"


_SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: list[int], width: int) -> str:
    """A row of bars, one for each part of the values; where there was nothing, a blank."""
    parts = [
        max(values[len(values) * i // width : max(len(values) * (i + 1) // width, len(values) * i // width + 1)])
        for i in range(width)
    ]
    most = max(parts, default=0)
    return "".join(_SPARKS[min(7, part * 8 // (most + 1))] if part else " " for part in parts)


def clock(value: datetime) -> str:
    """Local time of day with milliseconds."""
    global _zone_is_due
    _zone_is_due = True
    return value.astimezone().strftime("%H:%M:%S.%f")[:-3]


def number(value: float) -> str:
    """A count with thousands set apart."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``1 message``, ``2,000 messages``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def yes_no(value: bool) -> str:
    """A truth as a word."""
    return "yes" if value else "no"


def rate(per_s: float | None) -> str:
    """Messages a second, a minute or an hour, whichever says it in a number of one or more."""
    if per_s is None:
        return ""
    for unit, factor in (("s", 1), ("min", 60), ("h", 3600)):
        if per_s * factor >= 1 or unit == "h":
            return f"{per_s * factor:.6g}/{unit}"
    raise AssertionError("unreachable")


def words(value: list[str]) -> str:
    """A list as words."""
    return ", ".join(value)


def one_line(value: str) -> str:
    """A text without line breaks or control characters."""
    return "".join(c if c.isprintable() else " " for c in value).strip()
