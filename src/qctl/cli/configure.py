"""Commands about settings: config show, config label."""

from typing import Annotated

import typer

from qctl import config, label
from qctl.cli import options
from qctl.cli.calls import print_calls
from qctl.cli.consent import consent_if_protected
from qctl.cli.guard import say
from qctl.cli.session import session
from qctl.errors import UsageError
from qctl.output import Column, render
from qctl.output.columns import yes_no


def show(dsn: options.Dsn = None, profile: options.Profile = None, output: options.Output = None) -> None:
    """Every setting, its value and where that comes from: flag, variable, profile, file, default. No connection is made.

    Of a password it says only where it comes from.

    Example: qctl config show --profile prod
    """
    rows = config.settings(dsn, profile)
    render(rows, [Column("setting", "setting"), Column("value", "value"), Column("source", "from")], output)


def label_(
    text: Annotated[str | None, typer.Argument(help="What people call this database.", metavar="[LABEL]")] = None,
    protect: Annotated[
        bool | None,
        typer.Option("--protect/--no-protect", help="Want the label typed before what cannot be undone."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    yes: options.Yes = False,
    dsn: options.Dsn = None,
    profile: options.Profile = None,
    output: options.Output = None,
    sql: options.AsSql = False,
) -> None:
    """Name this database, in the database, for everybody: 'on prod: …' before each change. Without LABEL show its name.

    In a protected one drop, uninstall, discard, purge --dead, a filtered replay and apply want the label typed instead of a
    y, and detach, disarm, scale --workers 0 ask, too; --yes agrees as ever. A copy is not protected by the original's label.

    Example: qctl config label prod --protect
    """
    if (remove and (text is not None or protect is not None)) or (text is None and protect is not None and not remove):
        raise UsageError("say a label, or --remove", hint="qctl config label prod --protect")
    if sql:
        print_calls([label.setting(text, protected=protect)])
        return
    columns = [Column("label", "label"), Column("protected", "protected", yes_no)]
    if text is None and not remove:
        with session(dsn, profile, "config label") as connection:
            here = label.current(connection)
        if here is None:
            say("this database has no label")
        else:
            render([here], [*columns, Column("is_copy", "is of another", yes_no)], output)
        return
    with session(dsn, profile, "config label", changes=True) as connection:
        if remove or protect is False:
            consent_if_protected(connection, "its protection taken away", yes=yes)
        row = label.set_to(connection, text, protected=protect)
    render([row], [*columns, Column("changed", "changed", yes_no)], output)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(no_args_is_help=True, help="Settings: where they come from, and the database's label.")
    group.command("show")(show)
    group.command("label")(label_)
    app.add_typer(group, name="config", rich_help_panel="Look")
