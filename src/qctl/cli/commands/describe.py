"""The command that shows all of one queue: describe."""

from typing import Annotated

import typer

from qctl import models
from qctl.cli import completers, options, queue_settings
from qctl.cli.console import say
from qctl.cli.named_connection import in_fixes
from qctl.cli.session import session
from qctl.operations import attachments, purge, queues
from qctl.output import Column, Format, chosen, machine, render, table
from qctl.output.columns import counted, instant, number, one_line, size, words


def command(
    name: Annotated[
        str | None, typer.Argument(help="The queue.", metavar="QUEUE", autocompletion=completers.queue_names)
    ] = None,
    queue: options.Queue = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """A queue's whole configuration, its health, and the tables attached to it with the state of their triggers.

    Of headers that look like secrets only the names are shown.

    Example: qctl describe orders
    """
    with session(dsn, profile, "describe") as connection:
        chosen_name = queues.the_one(connection, queue if name is None else name)
        row = queues.described(connection, chosen_name)
        attached = attachments.listed(connection, chosen_name)
        (now,) = in_fixes(queues.statuses(connection, chosen_name))
        disk = purge.archive_size(connection, chosen_name)
    if chosen(output) in (Format.JSON, Format.JSONL):
        well = {"health": now.health, "since": now.since, "reason": now.reason, "fix": now.fix}
        well |= {"archive_bytes": disk.bytes, "archive_bytes_per_day": disk.bytes_per_day}
        machine.write_object({**machine.as_dict(row), **well, "attachments": [machine.as_dict(a) for a in attached]})
        return
    if chosen(output) in (Format.CSV, Format.TSV):
        render([row], [], output)
        return
    first = [
        ("queue", row.queue_name),
        ("health", now.health + (f" since {instant(now.since)}: {now.reason}" if now.since else "")),
        ("unfinished", _unfinished(now)),
        ("url", row.url),
        ("headers", ", ".join(f"{key}: {value}" for key, value in row.headers.items())),
        ("signed", f"with {counted(row.signing_secrets, 'secret')}" if row.signing_secrets else "no"),
    ]
    last = [("archive", _archive(disk)), ("created", f"{instant(row.created_at)} by {row.created_by}")]
    table.write_pairs([*first, *queue_settings.lines(row), *last])
    columns = [
        Column("relation", "table"),
        Column("operations", "operations", words),
        Column("triggers", "triggers", style=lambda value: "green" if value == "ok" else "bold red"),
        Column("when_sql", "when", one_line, fold=True),
        Column("columns", "columns", words),
        Column("payload", "format"),
        Column("body_sql", "body", fold=True),
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


def _archive(disk: "models.ArchiveSize") -> str:
    if disk.bytes is None:
        return ""
    return size(disk.bytes) + (f", {size(disk.bytes_per_day)} more per day" if disk.bytes_per_day else "")
