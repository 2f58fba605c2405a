"""Commands about the worker in a Supabase Edge Function: init, wake, status, stop."""

from pathlib import Path
from typing import Annotated

import typer

from qctl import config, db, models
from qctl.cli import edge_files, options
from qctl.cli.command import Command
from qctl.cli.confirm import confirm_if_protected
from qctl.cli.console import print_calls, say
from qctl.cli.named_connection import in_fixes
from qctl.cli.session import session
from qctl.errors import ExitCode, NotFoundError, QctlError
from qctl.operations import edge, grants
from qctl.output import Column, Format, chosen, machine, render, table
from qctl.output.columns import instant, number

NAME = "qctl-worker"
FOLDER = Path("supabase/functions") / NAME
SECRETS = Path("supabase/.env.qctl")
ROLE = "qctl_edge"
_DSN, _WAKE_SECRET = "QCTL_DSN", "QCTL_WAKE_SECRET"


def init(
    folder: Annotated[
        Path, typer.Option("--dir", help="Folder of the function; its name is the function's.", metavar="FOLDER")
    ] = FOLDER,
    force: Annotated[bool, typer.Option("--force", help="Write over files that were changed by hand.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Write the Edge Function's files; where an older version wrote them, update them. Makes no connection.

    It is a worker of the http transport in TypeScript that the database wakes when a message is ready: nothing to host, and
    none of pg_net's limits. docs/edge.md says when to use it, what it costs and what it cannot do.

    Example: qctl edge init
    """
    rows = edge_files.write_function(folder, force=force)
    render(rows, [Column("file", "file"), Column("done", "done")], output)
    project = edge.project_named(config.database(dsn, profile).conninfo) or "PROJECT"
    say(f"Next: qctl edge wake --url https://{project}.supabase.co/functions/v1/{folder.name}")


def wake(
    url: Annotated[
        str | None, typer.Option("--url", help="Address of the function (default: the known one).", metavar="URL")
    ] = None,
    pooler: Annotated[
        str | None,
        typer.Option("--pooler", help="Transaction pooler that its workers connect through.", metavar="HOST[:PORT]"),
    ] = None,
    role: Annotated[str, typer.Option("--role", help="Role that its workers connect as.", metavar="ROLE")] = ROLE,
    secrets: Annotated[
        Path, typer.Option("--secrets", help="File for the function's secrets.", metavar="FILE")
    ] = SECRETS,
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help="Sign wakes with a new secret; the old one also signs for 24 h.")
    ] = False,
    new_password: Annotated[bool, typer.Option("--new-password", help="Give the role a new password.")] = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Let the database wake the Edge Function when messages are ready: schedules a job of pg_cron.

    Makes a role that may deliver and nothing else, and writes its connection string and the secret that signs wakes to a file
    that only you can read and git ignores. Without --url it schedules again what is known. --sql prints only what the
    database does about the function: the secret is in its result, and the role is yours to make.

    Example: qctl edge wake --url https://PROJECT.supabase.co/functions/v1/qctl-worker
    """
    if sql:
        print_calls([edge.call(url, new_secret=new_secret, pooler=pooler), grants.grant(role, "work", payloads=False)])
        return
    with session(dsn, profile, "edge wake", changes=True) as connection:
        row, wrote = _set(connection, url, pooler, role, secrets, new_secret=new_secret, new_password=new_password)
    columns = [
        Column("url", "url"),
        Column("schedule", "looks every", lambda value: value.removeprefix("* * * * *") or "minute"),
        Column("most", "workers at once", right=True),
        Column("mark", "secret"),
    ]
    # The secret stands in the file and nowhere else.
    render([models.EdgeSet(row.url, row.function_name, row.most, row.schedule, None, row.mark)], columns, output)
    deploy = f"supabase functions deploy {row.function_name} --no-verify-jwt"
    if wrote:
        say(f"its secrets are in {secrets}, which only you can read and git ignores")
        say(f"Next: supabase secrets set --env-file {secrets} && {deploy}")
    elif not secrets.exists():
        say(f"there is no {secrets} here, and the function's secrets are unchanged. Next: qctl edge status")
    else:
        say(
            f"{secrets} is unchanged; if the function is not deployed yet: supabase secrets set --env-file {secrets} && {deploy}"
        )
        say("Next: qctl edge status")


def _set(
    connection: "db.Connection",
    url: str | None,
    pooler: str | None,
    role: str,
    path: Path,
    *,
    new_secret: bool,
    new_password: bool,
) -> tuple["models.EdgeSet", bool]:
    """Stores the function, makes its role, writes its secrets: all of it or nothing."""
    known = edge_files.read_secrets(path)
    values = dict(known)
    with db.transaction(connection):
        if (
            not known
            and url is None
            and pooler is None
            and not new_secret
            and not new_password
            and edge.status(connection)
        ):
            # Only the job is scheduled again, wherever the secrets are.
            return edge.set_edge(connection, None, new_secret=False, pooler=None), False
        # The password of a role that is known to work is kept.
        password = edge.password_of(known.get(_DSN), role) if edge.serves(known.get(_DSN), connection, role) else None
        if new_password or not edge.role_exists(connection, role):
            password = None
        needs_role = pooler is not None or password is None
        place = edge.place(connection, pooler) if needs_role else None
        pooled = f"{place.host}:{place.port}" if place is not None and place.pooled else None
        row = edge.set_edge(connection, url, new_secret=new_secret, pooler=pooled)
        if row.secret is not None:
            values[_WAKE_SECRET] = row.secret
        elif _WAKE_SECRET not in known:
            raise QctlError(
                f"the secret that signs wakes is not in {path}, and it is not shown again",
                hint=f"qctl edge wake --new-secret{' --new-password' if password is None else ''};"
                " or name the file that has it with --secrets",
                code=ExitCode.REFUSED,
            )
        if place is not None:
            password = password or edge.make_role(connection, role, new_password=new_password)
            values[_DSN] = place.dsn(role, password)
        grants.grant(role, "work", payloads=False).execute(connection)
        if values != known:
            # Before the commit: a secret that nobody has must not sign.
            edge_files.write_secrets(path, values)
    return row, values != known


def status(
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """What the Edge Function does: its workers, its wakes and how it answered, what the wakes of 30 days did.

    Each wake is one invocation in Supabase's bill.

    Example: qctl edge status
    """
    with session(dsn, profile, "edge status") as connection:
        row = edge.status(connection)
    if row is None:
        raise NotFoundError("no Edge Function is known here", hint="qctl edge init")
    (row,) = in_fixes([row])
    if chosen(output) is not Format.TABLE:
        render([row], [], output) if chosen(output) is not Format.JSON else machine.write_object(machine.as_dict(row))
        return
    table.write_pairs(_pairs(row))
    if row.fix is not None:
        say(f"Next: {row.fix}")
    elif row.state == "stopped":
        say("Next: qctl edge wake")
    elif row.state == "never woken":
        say("it is woken when a message of an http queue is ready and no worker runs; to try it: qctl test -q QUEUE")


def _pairs(row: "models.EdgeStatus") -> list[tuple[str, str]]:
    ended = ", ".join(f"{count} × {reason}" for reason, count in row.ended.items())
    wakes = f"{number(row.wakes_30_days)} in 30 days, {number(row.wakes_today)} in 24 h"
    if row.without_work_30_days:
        wakes += f"; {number(row.without_work_30_days)} without work"
    last = f"{instant(row.last_wake_at)}: {row.last_answer}" if row.last_wake_at is not None else ""
    through = {True: "a pooler", False: "no pooler", None: ""}[row.pooled]
    pairs = [
        ("url", row.url),
        ("state", row.state + (f": {row.reason}" if row.reason else "")),
        ("workers", f"{row.running} running, at most {row.most}; {row.in_flight} messages in flight"),
        ("looks every", "" if row.schedule is None else "minute" if row.schedule == "* * * * *" else row.schedule),
        ("wakes", wakes),
        ("last wake", last),
        ("next wake", f"not before {instant(row.next_wake_at)}" if row.next_wake_at is not None else ""),
        ("ended", ended),
        ("attempts", f"{number(row.delivered_30_days)} in 30 days" if row.delivered_30_days else ""),
        ("CPU time", f"{row.cpu_ms_per_message:.2f} ms a message" if row.cpu_ms_per_message is not None else ""),
        (
            "version",
            f"{row.function_version}, through {through}"
            if row.function_version and through
            else row.function_version or "",
        ),
        ("secret", row.secret_mark or ""),
    ]
    return [(name, value) for name, value in pairs if value]


def stop(
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """End the wakes. Edge workers that run settle what they have in flight and end within seconds.

    What is known of the function is kept: qctl edge wake starts it again.

    Example: qctl edge stop
    """
    if sql:
        print_calls([edge.stop()])
        return
    with session(dsn, profile, "edge stop", changes=True) as connection:
        confirm_if_protected(connection, "the Edge Function will no longer be woken", yes=yes)
        row = edge.stop().one(connection)
    render([row], [Column("url", "url"), Column("running", "still running", right=True)], output)
    say("now only worker processes deliver the queues of the http transport. Next: qctl worker --all")


group = typer.Typer(no_args_is_help=True, help="A worker in a Supabase Edge Function, which the database wakes.")
for _name, _function in (("init", init), ("wake", wake), ("status", status), ("stop", stop)):
    group.command(_name, cls=Command)(_function)
