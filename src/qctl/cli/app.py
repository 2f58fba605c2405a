"""The root command: puts the commands together."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.completion import completion_init  # pyright: ignore[reportPrivateImportUsage]
from typer.core import TyperGroup

import qctl
from qctl.cli import (
    access,
    act,
    apply,
    arm,
    capacity,
    capture,
    care,
    completing,
    completion,
    configure,
    describe,
    events,
    examine,
    find,
    look,
    measure,
    partition,
    purge,
    redo,
    run,
    scale,
    secret,
    setup,
    trace,
)
from qctl.cli.defaults import option_defaults
from qctl.cli.guard import Guard, report
from qctl.errors import ExitCode, UsageError

app = typer.Typer(
    name="qctl",
    cls=Guard,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Webhook delivery from inside PostgreSQL: a changed row becomes a queued message, an HTTP POST, a logged answer.",
    epilog="First steps: qctl demo · qctl install · qctl create orders --url https://… --attach public.orders",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qctl {qctl.__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    dsn: Annotated[str | None, typer.Option("--dsn", help="Connection string for the command.", metavar="DSN")] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="Profile for the command.", metavar="NAME", autocompletion=completing.profiles),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What holds for every command."""
    given: dict[str, Any] = {name: value for name, value in (("dsn", dsn), ("profile", profile)) if value is not None}
    command, group = ctx.invoked_subcommand, ctx.command
    assert isinstance(group, TyperGroup)
    if command is None:
        return
    found = group.commands.get(command)
    if isinstance(found, TyperGroup):
        given = dict.fromkeys(found.commands, given)
    ctx.default_map = {command: option_defaults(group, command) | given}


for module in (
    setup,
    capture,
    apply,
    arm,
    access,
    secret,
    partition,
    events,
    care,
    look,
    describe,
    measure,
    examine,
    find,
    trace,
    configure,
    redo,
    purge,
    act,
    scale,
    capacity,
    run,
    completion,
):
    module.register(app)


def main() -> None:
    """The entry point of the executable."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    if any("\udc80" <= letter <= "\udcff" for word in sys.argv for letter in word):
        report(UsageError("an argument is not valid UTF-8", hint="write it in UTF-8; LC_ALL=C.UTF-8 may help"))
        sys.exit(ExitCode.USAGE)
    completion_init()
    try:
        app()
    except SystemExit as ended:
        # Rich ends the process when the reader of a pipe has gone; for us that is no failure.
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(ExitCode.DONE)
        raise
