"""Commands about settings: config show, config label."""

from typing import Annotated

import typer

from qctl import config
from qctl.cli import options
from qctl.cli.command import Command
from qctl.cli.confirm import confirm_if_protected
from qctl.cli.console import print_calls, say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.operations import label
from qctl.output import Column, render
from qctl.output.columns import yes_no


def show(dsn: options.Dsn = None, profile: options.Profile = None, output: options.Output = None) -> None:
    """Every setting, its value and its source: flag, variable, profile, file, default. No connection is made.

    Of a password only the source is shown.

    Example: qctl config show --profile prod
    """
    rows = config.settings(dsn, profile)
    render(rows, [Column("setting", "setting"), Column("value", "value"), Column("source", "from")], output)


def label_(
    text: Annotated[str | None, typer.Argument(help="Name of this database for people.", metavar="[LABEL]")] = None,
    protect: Annotated[
        bool | None,
        typer.Option("--protect/--no-protect", help="Ask for the label before actions that cannot be undone."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the label.")] = False,
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Name this database, in the database, for everyone: 'on prod: …' before each change. Without LABEL show its name.

    In a protected database drop, uninstall, discard, purge --dead, a filtered replay and apply ask for the label instead of
    y, and detach, disarm and scale --workers 0 ask too; --yes agrees as usual. A copy is not protected by the original's label.

    Example: qctl config label prod --protect
    """
    if (remove and (text is not None or protect is not None)) or (text is None and protect is not None and not remove):
        raise UsageError("give a label, or --remove", hint="qctl config label prod --protect")
    call = label.set_to(text, protected=protect)
    if sql:
        print_calls([call])
        return
    columns = [Column("label", "label"), Column("protected", "protected", yes_no)]
    if text is None and not remove:
        with session(dsn, profile, "config label") as connection:
            here = label.current(connection)
        if here is None:
            say("this database has no label")
        else:
            render([here], [*columns, Column("is_copy", "copy", yes_no)], output)
        return
    with session(dsn, profile, "config label", changes=True) as connection:
        if remove or protect is False:
            confirm_if_protected(connection, "its protection will be removed", yes=yes)
        row = call.one(connection)
    render([row], [*columns, Column("changed", "changed", yes_no)], output)


group = typer.Typer(no_args_is_help=True, help="Settings: where they come from, and the database's label.")
group.command("show", cls=Command)(show)
group.command("label", cls=Command)(label_)
