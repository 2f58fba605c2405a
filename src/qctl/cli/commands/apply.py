"""The command that makes a database as a file declares it: apply."""

from pathlib import Path
from typing import Annotated, Any

import typer

from qctl.cli import options, queue_settings
from qctl.cli.confirm import confirm
from qctl.cli.console import say
from qctl.cli.session import session
from qctl.errors import ExitCode, QctlError
from qctl.operations import manifest
from qctl.output import Column, render
from qctl.output.columns import counted

_STYLES = {"create": "green", "change": "yellow", "extra": "magenta", "leave": "dim"}


def _style(value: Any) -> str:
    return _STYLES.get(value, "")


_COLUMNS = [
    Column("action", "action", style=_style),
    Column("kind", "what"),
    Column("object", "name", fold=True),
    Column("queue_name", "queue"),
    Column("detail", "differs in", fold=True),
]


def command(
    file: Annotated[Path, typer.Argument(help="A TOML file of queues and attachments; - for stdin.", metavar="FILE")],
    check: Annotated[bool, typer.Option("--check", help="Only compare: exit 8 if something differs.")] = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
) -> None:
    """Make the queues and attachments that a file declares, and change those that differ. One transaction.

    Shows the plan, then asks or needs --yes. Queues and attachments that the file does not name are extra and stay; settings
    and options that it leaves out stay as they are. One file serves dev, staging and production:

        [queues.orders]
        url = "https://n8n.example.com/webhook/orders"
        timeout = "30s"
        retention = "7d"

        [queues.orders.attach."public.orders"]
        on = ["insert", "update"]
        when = "new.total > 0"

    Example: qctl apply qctl.toml --check
    """
    wanted = manifest.read(file, queue_settings.toml_keys(), queue_settings.parsed)
    with session(dsn, profile, "apply", changes=not (check or dry_run)) as connection:
        planned = manifest.plan(connection, wanted)
        render(planned, _COLUMNS, output)
        todo = [row for row in planned if row.action in ("create", "change")]
        extra = sum(row.action == "extra" for row in planned)
        if check:
            if todo or extra:
                raise QctlError(
                    f"the database differs from the file: {len(todo)} to create or change, {extra} extra",
                    hint=f"qctl apply {file}",
                    code=ExitCode.CHECK_FAILED,
                )
            say("as declared")
            return
        if not todo:
            say(f"nothing to do{f'; {extra} extra' if extra else ''}")
            return
        if dry_run:
            return
        confirm(connection, f"{counted(len(todo), 'change')} will be made", yes=yes)
        manifest.apply(connection, wanted, planned, say)
    say(f"{counted(len(todo), 'change')} made")
    say("Next: qctl status")
