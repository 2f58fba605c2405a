"""Let this database deliver."""

from typing import Annotated

import typer

from qctl.cli import options
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.operations import arming, queues
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
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Let this database deliver.

    install arms. A copy sends nothing until it is armed: a restored dump, a recovered base backup, a promoted standby,
    another database of the server. Arm only the one that is to deliver; the messages in its queues are sent then.

    Example: qctl arm --survive-failover
    """
    call = arming.arm(survive_failover=survive_failover)
    if sql:
        print_calls([call])
        return
    with session(dsn, profile, "arm", changes=True) as connection:
        row = call.one(connection)
        waiting = sum(depth.depth for depth in queues.depths(connection, None))
    render([row], _COLUMNS, output)
    say(f"{counted(waiting, 'waiting message')} will be delivered now" if waiting else "no message waits")
    say("Next: qctl status")
