"""The settings of a queue, one row each: flag, parser, TOML key, SQL key, and how ``describe`` shows it."""

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from qctl.cli import options
from qctl.errors import UsageError
from qctl.output.columns import counted, milliseconds, one_line, seconds, words
from qctl.output.columns import rate as write_rate

if TYPE_CHECKING:
    from qctl import models

Parser = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Args:
        name: in a TOML file, and as a flag with ``-`` for ``_``.
        parse: what the command line or a TOML file gives, as arguments of ``qctl.set_queue``; raises UsageError.
        label: the line of ``describe``; None for a setting that another line shows.
        show: its text there.
        help: of the flag; None for a setting that has none on ``create`` and ``set``.
        metavar: of the flag.
        type: of the flag's value.
    """

    name: str
    parse: Parser
    label: "str | Callable[[models.Queue], str] | None" = None
    show: "Callable[[models.Queue], str] | None" = None
    help: str | None = None
    metavar: str | None = None
    type: Any = str

    @property
    def flags(self) -> list[str]:
        """The flag; of a truth value also the one that says no."""
        flag = self.name.replace("_", "-")
        return [f"--{flag}/--no-{flag}" if self.type is bool else f"--{flag}"]

    def option(self) -> Any:
        """The flag as Typer describes it."""
        return typer.Option(*self.flags, help=self.help, metavar=self.metavar)

    def parameter(self) -> inspect.Parameter:
        """The flag as a parameter of a command."""
        annotation = Annotated[self.type | None, self.option()]
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _one(key: str, read: Callable[[Any], Any]) -> Parser:
    return lambda value: {key: read(value)}


def _is(kind: type, what: str) -> Callable[[Any], Any]:
    """Takes a value of this type; a whole number will do for a real one."""

    def read(value: Any) -> Any:
        right = isinstance(value, int | float) if kind is float else isinstance(value, kind)
        if not right or (isinstance(value, bool) and kind is not bool) or value != value:
            raise UsageError(f"{value} is not {what}")
        return value

    return read


_text = _is(str, "a text")
_count = _is(int, "a whole number")
_number = _is(float, "a number")
_truth = _is(bool, "true or false")


def _seconds(value: Any) -> int:
    return round(options.duration(_text(value)))


def _milliseconds(value: Any) -> int:
    return round(options.duration(_text(value)) * 1000)


def _retention(value: Any) -> int | None:
    return options.retention(_text(value))


def _schedule(value: Any) -> list[int]:
    """Durations: ``5s,5m`` on the command line, ``["5s", "5m"]`` in a file."""
    return options.durations(value if isinstance(value, str) else ",".join(options.texts(value)))


def _rate(value: Any) -> float | None:
    return None if _text(value).strip() == "none" else options.per_second(value)


def _share(value: Any) -> float:
    return options.share(value if isinstance(value, str) else str(_number(value)))


def _count_or(word: str, value: Any) -> int:
    """A whole number; 0 for the word."""
    text = value if isinstance(value, str) else str(_count(value))
    if text.strip() == word:
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise UsageError(f"'{text[:50]}' is neither a whole number nor {word}", hint=f"for example 10, or {word}")
    return int(text)


def _concurrency(value: Any) -> dict[str, Any]:
    return {"concurrency_auto": True} if value == "auto" else {"concurrency": _count_or("auto", value)}


def _networks(value: Any) -> dict[str, Any]:
    return {"allow_networks": options.texts(value)}


def _broker(value: Any) -> dict[str, Any]:
    """Options of a connection: ``NAME=VALUE`` each on the command line, a table in a file; one empty text removes them."""
    if isinstance(value, dict):
        pairs: list[tuple[str, Any]] = list(cast("dict[str, Any]", value).items())
    else:
        pairs = [(name, text) for name, _, text in (pair.partition("=") for pair in options.texts(value) if pair)]
    for name, option in pairs:
        if not name or not isinstance(option, str) or not option:
            raise UsageError(f"'{name}' is not NAME=VALUE", hint="for example --broker username=qctl")
    return {"broker": dict(pairs)}


def _switch(value: Any) -> bool:
    if value in (True, "on"):
        return True
    if value in (False, "off"):
        return False
    raise UsageError(f"'{str(value)[:50]}' is neither on nor off")


def _any_network(value: Any) -> dict[str, Any]:
    return {"allow_networks": ["0.0.0.0/0", "::/0"] if _truth(value) else []}


def _expectation(value: Any) -> dict[str, Any]:
    """A JSON object or list to contain, any other text to find; an empty text is no expectation."""
    if not isinstance(value, str):
        return {"expect_json": value}
    if not value:
        return {"expect_text": None}
    try:
        found = json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        found = None
    return {"expect_json": found} if isinstance(found, dict | list) else {"expect_text": value}


def _show_redirects(row: "models.Queue") -> str:
    if row.is_handed_over:
        return ""
    return "a 2xx with a Location counts" if row.trust_location else "a failure"


def _show_concurrency(row: "models.Queue") -> str:
    if row.transport == "pg_net":
        return f"{row.batch} messages at a time to pg_net" + (", by a job of its own" if row.dedicated else "")
    if row.concurrency_auto:
        return "as many requests at once per worker process as the endpoint takes without slowing down"
    what = "messages" if row.is_handed_over else "requests"
    return f"{row.concurrency} {what} at once per worker process"


def _show_rate(row: "models.Queue") -> str:
    return "no limit" if row.rate_per_s is None else f"{write_rate(row.rate_per_s)} for all workers"


def _linger(value: Any) -> int | None:
    if _text(value).strip() == "auto":
        return None
    if (wait_ms := _milliseconds(value)) > 10_000:
        raise UsageError("it is at most 10s", hint="for example 50ms, 0, or auto")
    return wait_ms


def _show_linger(row: "models.Queue") -> str:
    if row.transport == "pg_net":
        return ""
    if row.linger_ms is not None:
        return f"{milliseconds(row.linger_ms)} for each claim and settle" if row.linger_ms else "none"
    if row.ordered:
        return "none, because it is ordered"
    longest = "250ms" if row.is_handed_over else "90ms"
    return f"up to {longest} for each claim and settle while more than 10 messages a second come to a worker"


def _show_breaker(row: "models.Queue") -> str:
    if not row.breaker_after:
        return "off"
    return (
        f"opens after {counted(row.breaker_after, 'failure')} in a row, or {row.breaker_share:.0%} within 30 s;"
        f" probes at most {seconds(row.breaker_pause_max_s)} apart"
    )


def _show_log(row: "models.Queue") -> str:
    if row.log == "all":
        return "every attempt"
    return "every failure; of the successes that are settled together one, so tail and messages show only that one"


def _show_archive(row: "models.Queue") -> str:
    if row.archive:
        return "delivered messages are moved to the archive"
    return "off: delivered messages are deleted, so show and replay do not find them"


def _show_broker(row: "models.Queue") -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(row.broker.items()))


def _show_networks(row: "models.Queue") -> str:
    if {"0.0.0.0/0", "::/0"} <= set(row.allow_networks):
        return "any address"
    return "public addresses" + (f", and {words(row.allow_networks)}" if row.allow_networks else "")


def _show_expectation(row: "models.Queue") -> str:
    if row.is_handed_over:
        return "the broker's confirmation"
    if row.expect_json is not None:
        return f"a 2xx whose body contains {json.dumps(row.expect_json)}"
    return "any 2xx" if row.expect_text is None else f"a 2xx whose body contains {one_line(row.expect_text)!r}"


def _show_retry(row: "models.Queue") -> str:
    return f"{_waits(row.retry_schedule_s)} (±{row.retry_jitter:.0%})"


def _show_order(row: "models.Queue") -> str:
    if not row.ordered:
        return "no"
    then = "the next goes on" if row.on_dead == "skip" else "its key waits for a replay or discard"
    return f"one at a time per order key; retry after {_waits(row.order_schedule_s)}; after a dead letter {then}"


def _show_retention(row: "models.Queue") -> str:
    if not row.archive:
        return "delivered messages are deleted at once"
    if row.retention_s is None:
        return "delivered messages are kept for ever"
    return f"delivered messages are deleted after {seconds(row.retention_s)}"


def _waits(schedule_s: list[int]) -> str:
    return " ".join(seconds(wait) for wait in schedule_s) or "no second attempt"


# In the order of the help and of describe.
SETTINGS = (
    Setting(
        "transport", _one("transport", _text), "transport", lambda q: q.transport,
        "auto: pg_net where it and pg_cron are here, else http. pg_net: jobs in the database. http: workers outside.",
        "auto|pg_net|http",
    ),
    Setting(
        "trust_location", _one("trust_location", _truth), "redirects", _show_redirects,
        "pg_net: accept a 2xx with a Location as the endpoint's own answer, not as the end of a redirect.", type=bool,
    ),
    Setting(
        "timeout", _one("timeout_ms", _milliseconds), "timeout", lambda q: milliseconds(q.timeout_ms),
        "Time allowed for one request (default 15s; 5s on pg_net).", "DURATION",
    ),
    Setting(
        "concurrency", _concurrency, lambda q: "concurrency" if q.transport == "http" else "batch", _show_concurrency,
        "Simultaneous requests of one worker process; auto: as many as the endpoint takes without slowing down.", "N|auto",
    ),
    Setting("batch", _one("batch", _count)),
    Setting("dedicated", _one("dedicated", _truth)),
    Setting(
        "max_in_flight", _one("max_in_flight", _count), "max in flight",
        lambda q: f"{q.max_in_flight} claimed messages of all workers",
        "Messages that all workers together may have in flight.", type=int,
    ),
    Setting(
        "rate", _one("rate_per_s", _rate), "rate", _show_rate,
        "Most requests of all workers together: 50/s, 600/min; none: no limit.", "RATE",
    ),
    Setting(
        "linger", _one("linger_ms", _linger), "linger", _show_linger,
        "http: wait so that one claim and one settle carry more; auto: by the rate, up to 90ms, 250ms for a broker; 0: never.",
        "DURATION|auto",
    ),
    Setting(
        "log", _one("log", _text), "attempt log", _show_log,
        "all: log every attempt; failures: of the successes that are settled together log one, which costs the database less.",
        "all|failures",
    ),
    Setting(
        "archive", _one("archive", _switch), "archiving", _show_archive,
        "off: delete delivered messages instead of archiving them; they can neither be shown nor replayed then.", "on|off",
    ),
    Setting(
        "broker", _broker, "broker", _show_broker,
        "Broker: an option of the connection, for example username=qctl, password=secret:NAME; may be repeated; '' for none.",
        "NAME=VALUE", list[str],
    ),
    Setting(
        "breaker", _one("breaker_after", lambda value: _count_or("off", value)), "breaker", _show_breaker,
        "Open the circuit breaker after this many failures in a row; off: never.", "N|off",
    ),
    Setting(
        "breaker_share", _one("breaker_share", _share),
        help="Or after this share of failures among 20 answers or more within 30 s.", metavar="PERCENT",
    ),
    Setting(
        "breaker_pause", _one("breaker_pause_max_s", _seconds),
        help="Longest pause between two probes of an open breaker.", metavar="DURATION",
    ),
    Setting(
        "allow_network", _networks, "may go to", _show_networks,
        "Allow requests into this network although it is not public; may be repeated.", "CIDR", list[str],
    ),
    Setting(
        "allow_private", _any_network, help="Allow requests to any address: loopback, private networks …", type=bool,
    ),
    Setting(
        "accept_net_secrets", _one("net_secrets", _truth),
        help="pg_net: send header secrets although every role of the database can read them there.", type=bool,
    ),
    Setting(
        "expect_body", _expectation, "expects", _show_expectation,
        "Take a 2xx without this for a failure: a text, or a JSON object that the answer contains; '' for none.", "TEXT|JSON",
    ),
    Setting("expect_text", _one("expect_text", _text)),
    Setting("expect_json", _one("expect_json", lambda value: value)),
    Setting(
        "retry", _one("retry_schedule_s", _schedule), "retry after", _show_retry,
        "Waits after failed attempts, for example 5s,5m,30m; '' for none.", "DURATIONS",
    ),
    Setting("retry_jitter", _one("retry_jitter", _number)),
    Setting(
        "retry_after_max", _one("retry_after_max_s", _seconds), "Retry-After",
        lambda q: "" if q.is_handed_over else f"honoured up to {seconds(q.retry_after_max_s)}",
    ),
    Setting(
        "ordered", _one("ordered", _truth), "ordered", _show_order,
        "Deliver messages that have an order key one at a time per key.", type=bool,
    ),
    Setting(
        "order_retry", _one("order_schedule_s", _schedule), help="Like --retry, for messages that have an order key.",
        metavar="DURATIONS",
    ),
    Setting(
        "on_dead", _one("on_dead", _text),
        help="Ordered: after a dead letter deliver the next of its key (skip), or wait for a replay or discard (block).",
        metavar="skip|block",
    ),
    Setting(
        "reject_after", _one("reject_after", _count), lambda q: "not accepted" if q.is_handed_over else "400 413 415 422",
        lambda q: f"dead after {counted(q.reject_after, 'attempt')}",
    ),
    Setting("max_lost", _one("max_lost", _count), "lost", lambda q: f"dead after {q.max_lost} leases without an answer"),
    Setting(
        "retention", _one("retention_s", _retention), "retention", _show_retention,
        "Time for which delivered messages are kept: 7d, or never to delete.", "DURATION",
    ),
)  # fmt: skip
_BY_NAME = {setting.name: setting for setting in SETTINGS}
# For commands that have one of these flags and no others.
Transport = Annotated[str | None, _BY_NAME["transport"].option()]
OnDead = Annotated[str | None, _BY_NAME["on_dead"].option()]
# What a file of an older qctl calls them.
_OLD_NAMES = {"breaker_after": "breaker", "allow_networks": "allow_network"}


def parsed(given: dict[str, Any], where: str = "") -> dict[str, Any]:
    """The settings as ``qctl.set_queue`` takes them.

    Args:
        given: values by name, as the command line or a TOML file has them.
        where: of a file, the table that they stand in; without, errors name the flag.

    Raises:
        UsageError: a name or value that is not valid.
    """
    found: dict[str, Any] = {}
    names = {_OLD_NAMES.get(name, name): value for name, value in given.items()}
    if "allow_network" in names and "allow_private" in names:
        raise UsageError("--allow-private allows every network", hint="give one of the two")
    for name, value in names.items():
        try:
            found |= _BY_NAME[name].parse(value)
        except UsageError as error:
            place = f"{where}.{name}" if where else f"--{name.replace('_', '-')}"
            raise UsageError(f"{place}: {error.message}", hint=error.hint) from None
    return found


def toml_keys() -> set[str]:
    """The keys that a queue's table in a TOML file may have for settings."""
    return {*_BY_NAME, *_OLD_NAMES}


def lines(row: "models.Queue") -> list[tuple[str, str]]:
    """The settings of a queue for people, as ``describe`` shows them."""
    found = [
        (setting.label if isinstance(setting.label, str) else setting.label(row), setting.show(row))
        for setting in SETTINGS
        if setting.label is not None and setting.show is not None
    ]
    return [line for line in found if line not in (("broker", ""), ("redirects", ""), ("Retry-After", ""))]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each setting in the place of its parameter ``settings``.

    The command gets there those that were given, as ``qctl.set_queue`` takes them. Typer reads signature and annotations.
    """
    flags = [setting.parameter() for setting in SETTINGS if setting.help is not None]
    names = [flag.name for flag in flags]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        given = {name: value for name in names if (value := arguments.pop(name)) not in (None, [])}
        command(**arguments, settings=parsed(given))

    signature = inspect.signature(command)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += flags if parameter.name == "settings" else [own]
    cast("Any", run).__signature__ = signature.replace(parameters=parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    return run
