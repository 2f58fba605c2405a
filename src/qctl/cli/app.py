"""The root command: puts the commands together."""

from typing import Annotated

import typer

from qctl import __version__
from qctl.cli import act, look, run, setup
from qctl.cli.guard import Guard

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
        typer.echo(f"qctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    dsn: Annotated[str | None, typer.Option("--dsn", help="Connection string for the command.", metavar="DSN")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What holds for every command."""
    if dsn is not None:
        ctx.default_map = {name: {"dsn": dsn} for name in ctx.command.commands}  # type: ignore[attr-defined]


for module in (setup, look, act, run):
    module.register(app)


def main() -> None:
    """The entry point of the executable."""
    app()
