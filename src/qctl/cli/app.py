"""The root command: puts the commands together."""

import gc
import os
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.completion import completion_init  # pyright: ignore[reportPrivateImportUsage]
from typer.core import TyperGroup

import qctl
from qctl.cli import completers, first_page, runbooks
from qctl.cli.command import Command, Group
from qctl.cli.config_defaults import option_defaults
from qctl.cli.console import report
from qctl.cli.guard import Guard, printing
from qctl.cli.panels import PANELS
from qctl.errors import ExitCode, UsageError

app = typer.Typer(
    name="qctl",
    cls=Guard,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Webhook delivery from inside PostgreSQL: a changed row becomes a queued message, an HTTP POST, a logged answer.",
)

_HELP = ("-h", "--help")
_registered: set[str] = set()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qctl {qctl.__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    dsn: Annotated[str | None, typer.Option("--dsn", help="Connection string of the database.", metavar="DSN")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", help="Profile of config.toml to use.", metavar="NAME", autocompletion=completers.profiles
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What holds for every command."""
    gc.enable()
    given: dict[str, Any] = {name: value for name, value in (("dsn", dsn), ("profile", profile)) if value is not None}
    command, group = ctx.invoked_subcommand, ctx.command
    assert isinstance(group, TyperGroup)
    if command is None:
        first_page.write(dsn, profile)
        return
    found = group.commands.get(command)
    if isinstance(found, TyperGroup):
        given = dict.fromkeys(found.commands, given)
    ctx.default_map = {command: option_defaults(_group, command) | given}


def module_of(command: str) -> str:
    """The dotted name of a command's module."""
    return f"qctl.cli.commands.{command.replace('-', '_')}"


def _register(names: Iterable[str]) -> None:
    """Adds commands: a module has its ``command``, and a class for it if need be, or the commands of a ``group``."""
    for panel, commands in PANELS.items():
        for name in commands:
            if name in _registered or name not in names:
                continue
            _registered.add(name)
            module = import_module(module_of(name))
            if hasattr(module, "group"):
                app.add_typer(module.group, name=name, cls=Group, rich_help_panel=panel)
            else:
                app.command(name, rich_help_panel=panel, cls=getattr(module, "Command", Command))(module.command)


def _all() -> list[str]:
    return [name for commands in PANELS.values() for name in commands]


def _register_for(words: list[str]) -> None:
    """Adds the commands that these words need: Typer builds every command that it is given, at each start."""
    # Named after the executable, which somebody may have renamed.
    if any(name.startswith("_") and name.endswith("_COMPLETE") for name in os.environ):
        _register(_all())
        return
    if _lacks_command(words) and not set(_HELP) & set(words):
        return
    _register(words[:1] if words[0] in _all() else _all())
    if words[0] in _HELP:
        for command in app.registered_commands:
            command.callback = _outline(command.callback)


def _outline(callback: Callable[..., Any] | None) -> Callable[[], None]:
    """A command as the overview shows it; its options appear only in its own help."""

    def outline() -> None: ...

    outline.__doc__, outline.__name__ = callback.__doc__, getattr(callback, "__name__", "")
    return outline


def _with_help(words: list[str]) -> list[str]:
    """``help`` and ``version``, which people type as commands; the help of no command is the first page."""
    if words in (["help", "--all"], ["help", "all"], ["--help", "--all"], ["-h", "--all"]):
        return ["--help"]
    if words == ["help", "help"]:
        return []
    if words == ["version"]:
        return ["--version"]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    return [word for word in words if word not in _HELP] if _lacks_command(words) else words


def _lacks_command(words: list[str]) -> bool:
    """Whether these are the root's own options alone, without one that shows something else."""
    rest = iter(words)
    for word in rest:
        if word in ("--dsn", "--profile"):
            next(rest, None)
        elif word not in _HELP and not word.startswith(("--dsn=", "--profile=")):
            return False
    return True


def _runbook(words: list[str]) -> str | None:
    """The page that ``help NAME`` asks for, where that is no command but a runbook."""
    if len(words) == 2 and words[0] == "help" and words[1] not in _all() and words[1] in runbooks.names():
        return runbooks.text(words[1])
    return None


def _group() -> TyperGroup:
    group = typer.main.get_command(whole())
    assert isinstance(group, TyperGroup)
    return group


def whole() -> typer.Typer:
    """The command line with all its commands: for help, completion, an unknown word, and generators."""
    _register(_all())
    return app


def _take_any_text() -> None:
    """Lets no closed stream and no encoding of a terminal end a command: what it has no letter for is replaced."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _take_any_zone() -> None:
    """Lets a TZ that is no zone of this world end no command."""
    try:
        datetime.now().astimezone()
    except ValueError:
        os.environ["TZ"] = "UTC"
        time.tzset()


def main() -> None:
    """The entry point of the executable."""
    _take_any_text()
    _take_any_zone()
    if any("\udc80" <= letter <= "\udcff" for word in sys.argv for letter in word):
        report(UsageError("an argument is not valid UTF-8", hint="write it in UTF-8; LC_ALL=C.UTF-8 may help"))
        sys.exit(ExitCode.USAGE)
    completion_init()
    if (page := _runbook(sys.argv[1:])) is not None:
        with printing():
            typer.echo(page, nl=False)
        return
    sys.argv[1:] = _with_help(sys.argv[1:])
    _register_for(sys.argv[1:])
    try:
        app()
    except SystemExit as ended:
        # Rich ends the process when the reader of a pipe has gone; for us that is no failure.
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(ExitCode.DONE)
        raise
