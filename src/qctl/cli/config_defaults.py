"""Defaults of options from config.toml."""

from collections.abc import Callable
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from qctl import config
from qctl.errors import UsageError

_NEVER = {
    "yes": "agreement must be given each time",
    "dsn": "a connection belongs in a profile",
    "profile": 'write default = "NAME" at the top',
}


def option_defaults(whole: Callable[[], TyperGroup], command: str) -> dict[str, Any]:
    """What config.toml gives one command, as the parser takes it: ``[defaults]`` for every command that has the option,
    ``[defaults.COMMAND]`` for one, which wins. ``whole`` gives the group of all commands, because the file may name any.

    Raises:
        UsageError: the file cannot be read, no command has that option, or the value is not valid.
    """
    given = config.defaults()
    if not given:
        return {}
    commands = {name: found for name, found in whole().commands.items() if isinstance(found, TyperCommand)}
    common = {name: value for name, value in given.items() if not isinstance(value, dict)}
    own = {name: cast("dict[str, Any]", value) for name, value in given.items() if isinstance(value, dict)}
    if unknown := sorted(set(own) - set(commands)):
        raise _error("", f"no such command: {', '.join(unknown)}")
    for name in _NEVER.keys() & {*common, *(option for table in own.values() for option in table)}:
        raise _error("", f"{name} cannot be a default: {_NEVER[name]}")
    if unknown := sorted(name for name in common if not any(_option(found, name) for found in commands.values())):
        raise _error("", f"no command has --{', --'.join(unknown)}")
    if command not in commands:
        return {}
    found: dict[str, Any] = {}
    for name, value in common.items():
        if (option := _option(commands[command], name)) is not None:
            found[option.name] = _value(commands[command], option, "", name, value)
    for name, value in own.get(command, {}).items():
        option = _option(commands[command], name)
        if option is None:
            raise _error(f".{command}", f"qctl {command} has no --{name}")
        found[option.name] = _value(commands[command], option, f".{command}", name, value)
    return found


def _error(table: str, what: str) -> UsageError:
    return UsageError(f"{config.config_file()}: defaults{table}: {what}", hint="qctl config show lists its settings")


def _option(command: TyperCommand, name: str) -> Any:
    return next((p for p in command.params if p.param_type_name == "option" and f"--{name}" in p.opts), None)


def _value(command: TyperCommand, option: Any, table: str, name: str, value: Any) -> Any:
    if option.is_flag or isinstance(value, bool):
        if not (option.is_flag and isinstance(value, bool)):
            raise _error(table, f"{name} needs {'true or false' if option.is_flag else 'a value'}")
        return value
    values = [str(one) for one in cast("list[Any]", value)] if isinstance(value, list) else [str(value)]
    if len(values) != 1 and not option.multiple:
        raise _error(table, f"{name} takes one value")
    given = values if option.multiple else values[0]
    try:
        option.process_value(typer.Context(command), given)
    except typer.BadParameter as error:
        raise _error(table, f"{name}: {error.message}") from None
    return given
