"""Let other roles use qctl."""

from typing import Annotated

import typer

from qctl.cli import options
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.operations import grants
from qctl.output import Column, render
from qctl.output.columns import yes_no

_COLUMNS = [
    Column("role_name", "role"),
    Column("level", "level"),
    Column("payloads", "payloads", yes_no),
    Column("changed", "changed", yes_no),
]


def command(
    role: options.Role,
    level: Annotated[
        str, typer.Option("--as", help="read: look; operate: also act; work: deliver.", metavar="read|operate|work")
    ] = "read",
    payloads: Annotated[bool, typer.Option("--payloads", help="Include payloads and message headers.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Let a role look (read), act (operate) or deliver (work). A role has one level: the last one given.

    read: status, check, doctor, messages, show, tail …, without payloads unless --payloads. operate: also send, test,
    replay, discard, purge, pause, resume, scale. work: read, and what qctl worker needs. The role gets no privilege on pgmq or
    on your tables: it calls functions that run as the role that installed qctl, and the audit names the caller. An upgrade
    extends the grant to new functions.

    Example: qctl grant colleague --as read
    """
    call = grants.grant(role, level, payloads=payloads)
    if sql:
        print_calls([call])
        return
    with session(dsn, profile, "grant", changes=True) as connection:
        row = call.one(connection)
    render([row], _COLUMNS, output)
    say(f"Next: as {role}: " + ("qctl worker --all" if level == "work" else "qctl status"))
