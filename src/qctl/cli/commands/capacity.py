"""The command that says what the queues can carry, and what a load would need."""

from dataclasses import replace
from typing import Annotated

import typer

from qctl.cli import options
from qctl.cli.capacity_table import COLUMNS, compared
from qctl.cli.console import say
from qctl.cli.database_load import MUCH, told, write_rate
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.operations import capacity
from qctl.output import Column, Format, chosen, machine, render
from qctl.output.columns import number, size

_TIMES = (1, 10, 100)


_PLAN_COLUMNS = [
    Column("times", "load", lambda value: f"×{value}", right=True),
    Column("per_s", "messages", write_rate, right=True),
    Column("database_cores", "database", lambda value: f"{value:.0%} of a core", right=True),
    Column("transport", "transport"),
    Column("workers", "workers", number, right=True),
    Column("concurrency", "at once", number, right=True),
    Column("max_in_flight", "max in flight", number, right=True, wide=True),
    Column("batch", "a claim", number, right=True, wide=True),
    Column("worker_cores", "workers' CPU", lambda value: f"{value:.0%} of a core", right=True, wide=True),
    Column("messages_per_month", "a month", number, right=True, wide=True),
    Column("bytes_per_month", "disk a month", lambda value: size(round(value)), right=True),
    Column("reason", "why", fold=True),
]


def command(
    queue: options.Queue = None,
    users: Annotated[
        int | None,
        typer.Option(
            "--users", help="Plan for this number of users instead of showing the queues.", min=1, metavar="N"
        ),
    ] = None,
    active: Annotated[
        str, typer.Option("--active", help="With --users: share of users who are active at the peak.", metavar="SHARE")
    ] = "5%",
    events: Annotated[
        str, typer.Option("--events", help="With --users: events of each active user.", metavar="RATE")
    ] = "1/min",
    load: Annotated[
        str | None, typer.Option("--rate", help="Plan for this rate of messages: 50/s, 5000/min.", metavar="RATE")
    ] = None,
    payload: Annotated[str, typer.Option("--payload", help="Size of a payload in the plan.", metavar="SIZE")] = "1k",
    latency: Annotated[
        str, typer.Option("--latency", help="Time in which the endpoint answers in the plan.", metavar="DURATION")
    ] = "200ms",
    hours: Annotated[
        float, typer.Option("--hours", help="Hours per day at that rate, to compute the disk space.", min=0.01, max=24)
    ] = 24,
    transport: Annotated[
        str | None,
        typer.Option("--transport", help="pg_net, http or broker (default: the plan chooses).", metavar="TRANSPORT"),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """The throughput that each queue can reach with its settings, and what limits it; or what a load would need.

    A plan is computed from measured costs, for the load and for 10 and 100 times that load. It changes no queue.

    Example: qctl capacity --users 100000 --active 5% --events 1/min
    """
    if users is None and load is None:
        with session(dsn, profile, "capacity") as connection:
            rows = capacity.capacities(connection, queue)
            share = capacity.database_share(connection)
        for line in told(share):
            say(line)
        render([compared(row, row) for row in rows], COLUMNS, output)
        wakes = next((row.wakes_per_month for row in rows if row.wakes_per_month is not None), None)
        if wakes is not None:
            say(
                f"the Edge Function is invoked about {wakes:,} times a month at the rate of the last 24 h, for all queues"
            )
        return
    if users is not None and load is not None:
        raise UsageError("--users and --rate exclude each other")
    if queue is not None:
        raise UsageError(
            "a plan does not belong to a queue", hint="leave out -q; to set up a queue: qctl scale -q QUEUE --for RATE"
        )
    per_s = (
        options.per_second(load)
        if load is not None
        else (users or 0) * options.share(active) * options.per_second(events)
    )
    if not per_s:
        raise UsageError("there are no events to plan for", hint="for example --active 5% --events 1/min")
    assumed = {
        "payload_bytes": options.size(payload), "latency_ms": max(1, round(options.duration(latency) * 1000)), "hours": hours,
        "transport": transport,
    }  # fmt: skip
    with session(dsn, profile, "capacity") as connection:
        plans = [replace(capacity.plan(connection, per_s * times, **assumed), times=times) for times in _TIMES]
        handed = {**assumed, "transport": "broker"}
        plans += [
            replace(capacity.plan(connection, plan.per_s, **handed), times=plan.times)
            for plan in plans
            if plan.transport == "http" and plan.database_cores > MUCH
        ]
    if chosen(output) is Format.JSON:
        machine.write_object({"assumed": assumed, "plans": [machine.as_dict(plan) for plan in plans]})
    else:
        render(plans, _PLAN_COLUMNS, output)
    if any(plan.transport == "broker" for plan in plans) and transport is None:
        say(
            f"more than {MUCH:.0%} of a core: hand over to a broker, which delivers and retries by itself:"
            " qctl set -q QUEUE --url 'amqps://HOST/?queue=NAME' --log failures"
        )
    say(
        f"{write_rate(per_s)} of {payload}, answered in {latency}, {hours:g} h a day; history is kept for a month.\n"
        f"Next: qctl scale -q QUEUE --for {max(1, round(per_s * 60))}/min"
    )
