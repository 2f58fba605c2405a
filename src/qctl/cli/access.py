"""Commands that let other roles in: grant, revoke."""

from typing import Annotated

import typer

from qctl import access
from qctl.cli import options
from qctl.cli.calls import print_calls
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.output import Column, render
from qctl.output.columns import yes_no

Role = Annotated[str, typer.Argument(help="A role of the server.", metavar="ROLE")]


def grant(
    role: Role,
    level: Annotated[
        str,
        typer.Option(
            "--as",
            help="read looks, operate also acts, work delivers.",
            metavar="read|operate|work",
        ),
    ] = "read",
    payloads: Annotated[bool, typer.Option("--payloads", help="Payloads and message headers, too.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Let a role look (read), act (operate), or deliver (work). One level a role: the last one given.

    read: status, check, doctor, messages, show, tail …, without payloads unless told. operate: also send, test, replay,
    discard, purge, pause, resume, scale. work: read, and what qctl worker does. It gets no right on pgmq or on your tables:
    it calls functions that run as the role that installed qctl, and the audit names it. An upgrade gives it what is new.

    Example: qctl grant colleague --as read
    """
    if sql:
        print_calls([access.granting(role, level, payloads=payloads)])
        return
    with session(dsn, profile, "grant", changes=True) as connection:
        row = access.grant(connection, role, level, payloads=payloads)
    columns = [
        Column("role_name", "role"),
        Column("level", "may"),
        Column("payloads", "payloads", yes_no),
        Column("changed", "changed", yes_no),
    ]
    render([row], columns, output)
    say(f"Next: as {role}: " + ("qctl worker --all" if level == "work" else "qctl status"))


def revoke(
    role: Role,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Take back what grant gave.

    Example: qctl revoke colleague
    """
    if sql:
        print_calls([access.revoking(role)])
        return
    with session(dsn, profile, "revoke", changes=True) as connection:
        row = access.revoke(connection, role)
    render([row], [Column("role_name", "role"), Column("changed", "changed", yes_no)], output)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function in (grant, revoke):
        app.command(function.__name__, rich_help_panel="Set up")(function)
