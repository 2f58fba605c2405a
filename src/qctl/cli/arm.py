"""Commands that say whether this database may deliver: arm, disarm."""

from typing import Annotated

import typer

from qctl import arming, queues
from qctl.cli import options
from qctl.cli.calls import print_calls
from qctl.cli.consent import consent_if_protected
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.output import Column, render
from qctl.output.columns import counted, instant, yes_no


def arm(
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

    install arms. A copy is silent until this: a restored dump, a base backup that was recovered, a promoted standby,
    another database of the server. Arm only the one that shall deliver; what waits in its queues is sent then.

    Example: qctl arm --survive-failover
    """
    if sql:
        print_calls([arming.arming(survive_failover=survive_failover)])
        return
    with session(dsn, profile, "arm", changes=True) as connection:
        row = arming.arm(connection, survive_failover=survive_failover)
        waiting = sum(depth.depth for depth in queues.depths(connection, None))
    columns = [
        Column("armed", "armed", yes_no),
        Column("changed", "changed", yes_no),
        Column("database", "database"),
        Column("system_identifier", "cluster"),
        Column("timeline", "timeline", right=True),
        Column("survive_failover", "survives failover", yes_no),
        Column("armed_at", "since", instant),
        Column("armed_by", "by", wide=True),
    ]
    render([row], columns, output)
    say(f"waiting, and delivered now: {counted(waiting, 'message')}" if waiting else "no message waits")
    say("Next: qctl status")


def disarm(
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Stop this database from delivering, whatever the transport. Capture goes on; what is in flight settles.

    Example: qctl disarm
    """
    if sql:
        print_calls([("disarm", {})])
        return
    with session(dsn, profile, "disarm", changes=True) as connection:
        consent_if_protected(connection, "nothing delivered any more", yes=yes)
        row = arming.disarm(connection)
    columns = [Column("armed", "armed", yes_no), Column("changed", "changed", yes_no), Column("database", "database")]
    render([row], columns, output)
    say("Next: qctl arm, when it shall deliver again")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (arm, disarm):
        app.command(function.__name__, rich_help_panel="Set up")(function)
