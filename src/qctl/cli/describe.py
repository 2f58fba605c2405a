"""The command that shows all of one queue: describe."""

import json
from typing import Annotated

import typer

from qctl import attachments, models, purging, queues
from qctl.cli import completing, options
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.output import Column, Format, chosen, machine, render, table
from qctl.output.columns import counted, instant, milliseconds, number, one_line, rate, seconds, size, words


def describe(
    name: Annotated[
        str | None, typer.Argument(help="The queue.", metavar="QUEUE", autocompletion=completing.queue_names)
    ] = None,
    queue: options.Queue = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """A queue's whole configuration, its health, and the tables attached to it with the state of their triggers.

    Headers that look like secrets are told by name only.

    Example: qctl describe orders
    """
    with session(dsn, profile, "describe") as connection:
        chosen_name = queues.the_one(connection, queue if name is None else name)
        row = queues.described(connection, chosen_name)
        attached = attachments.listed(connection, chosen_name)
        (now,) = queues.statuses(connection, chosen_name)
        disk = purging.archive_size(connection, chosen_name)
    if chosen(output) in (Format.JSON, Format.JSONL):
        well = {"health": now.health, "since": now.since, "reason": now.reason, "mend": now.mend}
        well |= {"archive_bytes": disk.bytes, "archive_bytes_per_day": disk.bytes_per_day}
        machine.write_object({**machine.as_dict(row), **well, "attachments": [machine.as_dict(a) for a in attached]})
        return
    if chosen(output) in (Format.CSV, Format.TSV):
        render([row], [], output)
        return
    schedule = " ".join(seconds(wait) for wait in row.retry_schedule_s) or "no second attempt"
    table.write_pairs(
        [
            ("queue", row.queue_name),
            ("health", now.health + (f" since {instant(now.since)}: {now.reason}" if now.since else "")),
            ("unfinished", _unfinished(now)),
            ("transport", row.transport),
            ("url", row.url),
            ("redirects", "a 2xx with a Location counts" if row.trust_location else "a failure"),
            ("headers", ", ".join(f"{key}: {value}" for key, value in row.headers.items())),
            ("timeout", milliseconds(row.timeout_ms)),
            ("concurrency", _concurrency(row))
            if row.transport == "http"
            else (
                "batch",
                f"{row.batch} messages at once to pg_net" + (", by a job of its own" if row.dedicated else ""),
            ),
            ("max in flight", f"{row.max_in_flight} claimed messages of all workers"),
            ("rate", "no limit" if row.rate_per_s is None else f"{rate(row.rate_per_s)} of all workers"),
            ("breaker", _breaker(row)),
            ("may go to", _networks(row)),
            ("signed", f"with {counted(row.signing_secrets, 'secret')}" if row.signing_secrets else "no"),
            ("expects", _expectation(row)),
            ("retry after", f"{schedule} (±{row.retry_jitter:.0%})"),
            ("Retry-After", f"honoured up to {seconds(row.retry_after_max_s)}"),
            ("ordered", _order(row)),
            ("400 413 415 422", f"dead after {row.reject_after} attempts"),
            ("lost", f"dead after {row.max_lost} leases without an answer"),
            (
                "retention",
                "delivered messages are kept for ever"
                if row.retention_s is None
                else f"delivered messages are deleted after {seconds(row.retention_s)}",
            ),
            (
                "archive",
                ""
                if disk.bytes is None
                else size(disk.bytes) + (f", {size(disk.bytes_per_day)} more a day" if disk.bytes_per_day else ""),
            ),
            ("created", f"{instant(row.created_at)} by {row.created_by}"),
        ]
    )
    columns = [
        Column("relation", "table"),
        Column("operations", "operations", words),
        Column("triggers", "triggers", style=lambda value: "green" if value == "ok" else "bold red"),
        Column("when_sql", "when", one_line, fold=True),
        Column("columns", "columns", words),
        Column("payload", "payload"),
        Column("order_by", "order by"),
        Column("runs_as", "runs as", wide=True),
    ]
    if attached:
        render(attached, columns, output)
    else:
        say(f"no table is attached. Next: qctl attach SCHEMA.TABLE -q {chosen_name}")


def _unfinished(now: "models.Status") -> str:
    if now.depth is None:
        return "unknown"
    if now.depth_exact is False and now.depth_estimate:
        return f"at least {number(now.depth)}, about {number(now.depth_estimate)}; qctl depth counts further"
    return number(now.depth)


def _concurrency(row: "models.Queue") -> str:
    if row.concurrency_auto:
        return "as many requests at once as the endpoint takes without slowing down, of each worker process"
    return f"{row.concurrency} requests at once per worker process"


def _breaker(row: "models.Queue") -> str:
    if not row.breaker_after:
        return "off"
    return (
        f"opens after {counted(row.breaker_after, 'failure')} in a row, or {row.breaker_share:.0%} within 30 s;"
        f" probes at most {seconds(row.breaker_pause_max_s)} apart"
    )


def _expectation(row: "models.Queue") -> str:
    if row.expect_json is not None:
        return f"a 2xx whose body contains {json.dumps(row.expect_json)}"
    return "any 2xx" if row.expect_text is None else f"a 2xx whose body holds {one_line(row.expect_text)!r}"


def _networks(row: "models.Queue") -> str:
    if {"0.0.0.0/0", "::/0"} <= set(row.allow_networks):
        return "any address"
    return "public addresses" + (f", and {words(row.allow_networks)}" if row.allow_networks else "")


def _order(row: "models.Queue") -> str:
    if not row.ordered:
        return "no"
    waits = " ".join(seconds(wait) for wait in row.order_schedule_s) or "no second attempt"
    then = "the next goes on" if row.on_dead == "skip" else "its key waits for a replay or discard"
    return f"one at a time per order key; retry after {waits}; after a dead letter {then}"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("describe", rich_help_panel="Look")(describe)
