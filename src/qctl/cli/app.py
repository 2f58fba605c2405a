"""The root command: puts the commands together."""

import gc
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.completion import completion_init  # pyright: ignore[reportPrivateImportUsage]
from typer.core import TyperGroup

import qctl
from qctl.cli import completing
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
    gc.enable()
    given: dict[str, Any] = {name: value for name, value in (("dsn", dsn), ("profile", profile)) if value is not None}
    command, group = ctx.invoked_subcommand, ctx.command
    assert isinstance(group, TyperGroup)
    if command is None:
        return
    found = group.commands.get(command)
    if isinstance(found, TyperGroup):
        given = dict.fromkeys(found.commands, given)
    ctx.default_map = {command: option_defaults(_group, command) | given}


# The module of each command, in the order of the help.
MODULES: dict[str, tuple[str, ...]] = {
    "setup": ("install", "upgrade", "create", "set"),
    "capture": ("attach", "detach", "adopt-webhook"),
    "apply": ("apply",),
    "arm": ("arm", "disarm"),
    "access": ("grant", "revoke"),
    "secret": ("secret",),
    "partition": ("partition",),
    "events": ("events",),
    "care": ("verify", "drop", "uninstall"),
    "look": ("status", "depth", "lag", "queues"),
    "describe": ("describe",),
    "measure": ("metrics",),
    "examine": ("check", "doctor"),
    "find": ("messages", "dead"),
    "trace": ("show", "tail"),
    "configure": ("config",),
    "redo": ("replay", "discard"),
    "purge": ("purge",),
    "act": ("send", "test", "pause", "resume"),
    "scale": ("scale",),
    "capacity": ("capacity",),
    "run": ("worker", "demo"),
    "completion": ("completion",),
}
_registered: set[str] = set()


def _register(modules: Iterable[str]) -> None:
    for name in modules:
        if name not in _registered:
            _registered.add(name)
            import_module(f"qctl.cli.{name}").register(app)


def _register_for(words: list[str]) -> None:
    """What these words need: Typer makes every command that it is given at each start, and one of fifty runs."""
    # Named after the executable, which somebody may have renamed.
    if any(name.startswith("_") and name.endswith("_COMPLETE") for name in os.environ):
        _register(MODULES)
        return
    asked = [module for module, commands in MODULES.items() if words and words[0] in commands]
    _register(asked or MODULES)
    if not words or words[0] in ("-h", "--help"):
        for command in app.registered_commands:
            command.callback = _outline(command.callback)


def _outline(callback: Callable[..., Any] | None) -> Callable[[], None]:
    """As much of a command as the help of all of them shows; its options are told by its own."""

    def outline() -> None: ...

    outline.__doc__, outline.__name__ = callback.__doc__, getattr(callback, "__name__", "")
    return outline


def _group() -> TyperGroup:
    group = typer.main.get_command(whole())
    assert isinstance(group, TyperGroup)
    return group


def whole() -> typer.Typer:
    """The command line with all its commands: for help, completion, a word that is no command, and generators."""
    _register(MODULES)
    return app


def main() -> None:
    """The entry point of the executable."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    if any("\udc80" <= letter <= "\udcff" for word in sys.argv for letter in word):
        report(UsageError("an argument is not valid UTF-8", hint="write it in UTF-8; LC_ALL=C.UTF-8 may help"))
        sys.exit(ExitCode.USAGE)
    completion_init()
    _register_for(sys.argv[1:])
    try:
        app()
    except SystemExit as ended:
        # Rich ends the process when the reader of a pipe has gone; for us that is no failure.
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(ExitCode.DONE)
        raise
