"""Let this database deliver."""

from typing import Annotated

import typer

from qctl import db, models
from qctl.cli import options
from qctl.cli.confirm import confirm
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.operations import arming, label
from qctl.output import Column, render
from qctl.output.columns import counted, instant, yes_no

_COLUMNS = [
    Column("armed", "armed", yes_no),
    Column("changed", "changed", yes_no),
    Column("database", "database"),
    Column("system_identifier", "cluster"),
    Column("timeline", "timeline", right=True),
    Column("survive_failover", "survives failover", yes_no),
    Column("armed_at", "since", instant),
    Column("armed_by", "by", wide=True),
]


def command(
    survive_failover: Annotated[
        bool | None,
        typer.Option(
            "--survive-failover/--this-timeline",
            help="Deliver also after a standby of this database was promoted, or not.",
        ),
    ] = None,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    yes: options.Yes = False,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Let this database deliver.

    install arms. A copy sends nothing until it is armed: a restored dump, a recovered base backup, a promoted standby,
    another database of the server. Leave a copy silent. Where this is the database that is to deliver, arm shows where it
    is, and what would go out to which endpoint, and asks, or needs --yes.

    Example: qctl arm --survive-failover
    """
    call = arming.arm(survive_failover=survive_failover)
    if sql:
        print_calls([call])
        return
    with session(dsn, profile, "arm", changes=True) as connection:
        would = arming.preview(connection)
        waiting = sum(queue.waiting or 0 for queue in would.queues)
        if not would.armed:
            _say_what_would_go_out(would, label.current(connection), db.where(connection))
            confirm(connection, f"{counted(waiting, 'waiting message')} would be sent", yes=yes)
        row = call.one(connection)
    render([row], _COLUMNS, output)
    if gone := [queue.queue_name for queue in would.queues if queue.waiting is None]:
        say(f"pgmq's tables of {', '.join(gone)} are gone: qctl upgrade --repair")
    if waiting:
        say(f"{counted(waiting, 'waiting message')} {'are delivered' if would.armed else 'will be delivered now'}")
    elif not gone:
        say("no message waits")
    say("Next: qctl status")


def _say_what_would_go_out(would: "models.ArmingPreview", here: "models.Label | None", where: str) -> None:
    say(f"database {where}, {here.label if here else 'without a label'}: {would.state}")
    for queue in would.queues:
        waiting = "pgmq's table is gone" if queue.waiting is None else counted(queue.waiting, "message")
        say(f"  {queue.queue_name} → {queue.url}  {waiting}{'  (paused)' if queue.paused else ''}")
    if would.is_copy:
        say("A copy sends nothing until it is armed. Leave it silent, unless this is the database that is to deliver.")
