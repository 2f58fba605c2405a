"""The settings of a queue as options, each defined once, and what they mean to the database."""

import json
from typing import Annotated, Any

import typer

from qctl.cli import options
from qctl.errors import UsageError

Timeout = Annotated[str | None, typer.Option("--timeout", help="Of one request, for example 15s.", metavar="DURATION")]
Concurrency = Annotated[
    str | None,
    typer.Option(
        "--concurrency",
        help="Simultaneous requests of one worker process; auto: as many as the endpoint takes without slowing down.",
        metavar="N|auto",
    ),
]
MaxInFlight = Annotated[int | None, typer.Option("--max-in-flight", help="Claimed messages of all workers together.")]
RetrySchedule = Annotated[
    str | None,
    typer.Option(
        "--retry", help="Waits after failed attempts, for example 5s,5m,30m; '' for none.", metavar="DURATIONS"
    ),
]
Rate = Annotated[
    str | None,
    typer.Option("--rate", help="Requests of all workers together: 50/s, 600/min; none: no limit.", metavar="RATE"),
]
Breaker = Annotated[
    str | None,
    typer.Option(
        "--breaker", help="Failures of the endpoint in a row that stop all but a probe; off: never.", metavar="N|off"
    ),
]
BreakerShare = Annotated[
    str | None,
    typer.Option(
        "--breaker-share", help="Or this share of failures, of 20 answers or more within 30 s.", metavar="PERCENT"
    ),
]
BreakerPause = Annotated[
    str | None, typer.Option("--breaker-pause", help="Longest pause between two probes.", metavar="DURATION")
]
ExpectBody = Annotated[
    str | None,
    typer.Option(
        "--expect-body",
        help="A 2xx without this is a failure: a text, or a JSON object that the answer contains; '' for none.",
        metavar="TEXT|JSON",
    ),
]
Ordered = Annotated[
    bool | None,
    typer.Option("--ordered/--no-ordered", help="Messages with an order key go out one at a time per key."),
]
OrderRetry = Annotated[
    str | None,
    typer.Option("--order-retry", help="As --retry, for messages with an order key.", metavar="DURATIONS"),
]
OnDead = Annotated[
    str | None,
    typer.Option(
        "--on-dead",
        help="Ordered: what follows a dead letter goes on (skip), or waits for its replay or discard (block).",
        metavar="skip|block",
    ),
]
AcceptNetSecrets = Annotated[
    bool | None,
    typer.Option(
        "--accept-net-secrets/--no-accept-net-secrets",
        help="pg_net: send header secrets, though every role of the database can read them there.",
    ),
]


AllowNetwork = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-network",
        help="Requests may go into this network, though it is not public; may be repeated.",
        metavar="CIDR",
    ),
]
AllowPrivate = Annotated[
    bool | None,
    typer.Option(
        "--allow-private/--no-allow-private", help="Requests may go to any address: loopback, private networks …"
    ),
]


def given(
    *,
    timeout: str | None,
    concurrency: str | None,
    max_in_flight: int | None,
    retry: str | None,
    transport: str | None,
    retention: str | None,
    trust_location: bool | None,
    rate: str | None,
    breaker: str | None,
    breaker_share: str | None,
    breaker_pause: str | None,
    expect_body: str | None,
    ordered: bool | None,
    order_retry: str | None,
    on_dead: str | None,
    accept_net_secrets: bool | None,
    allow_network: list[str] | None,
    allow_private: bool | None,
) -> dict[str, Any]:
    """The settings that were named, as ``qctl.set_queue`` takes them; None is a value there.

    Raises:
        UsageError: a duration, rate or share that is none.
    """
    found: dict[str, Any] = {
        "timeout_ms": None if timeout is None else round(options.duration(timeout) * 1000),
        "max_in_flight": max_in_flight,
        "retry_schedule_s": None if retry is None else options.durations(retry),
        "transport": transport,
        "trust_location": trust_location,
        "breaker_after": None if breaker is None else _count_or("off", breaker, "--breaker"),
        "breaker_share": None if breaker_share is None else options.share(breaker_share),
        "breaker_pause_max_s": None if breaker_pause is None else round(options.duration(breaker_pause)),
        "ordered": ordered,
        "order_schedule_s": None if order_retry is None else options.durations(order_retry),
        "on_dead": on_dead,
        "net_secrets": accept_net_secrets,
    }
    settings = {name: value for name, value in found.items() if value is not None}
    if allow_network and allow_private is not None:
        raise UsageError("--allow-private allows every network", hint="one of the two")
    if allow_network or allow_private is not None:
        settings["allow_networks"] = allow_network or (["0.0.0.0/0", "::/0"] if allow_private else [])
    if concurrency == "auto":
        settings["concurrency_auto"] = True
    elif concurrency is not None:
        settings["concurrency"] = _count_or("auto", concurrency, "--concurrency")
    if retention is not None:
        settings["retention_s"] = options.retention(retention)
    if rate is not None:
        settings["rate_per_s"] = None if rate.strip() == "none" else options.per_second(rate)
    if expect_body is not None:
        settings |= expectation(expect_body)
    return settings


def expectation(text: str) -> dict[str, Any]:
    """What an answer must hold: a JSON object or list to contain, any other text to find; an empty text is nothing."""
    if not text:
        return {"expect_text": None}
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        value = None
    return {"expect_json": value} if isinstance(value, dict | list) else {"expect_text": text}


def _count_or(word: str, text: str, option: str) -> int:
    if text.strip() == word:
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise UsageError(f"{option}: '{text[:50]}' is neither a whole number nor {word}", hint=f"{option} 10")
    return int(text)
