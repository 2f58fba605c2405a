"""The command table."""

import importlib
from pathlib import Path

from qctl.cli import commands
from qctl.cli.app import module_of, whole
from qctl.cli.panels import PANELS


def test_each_command_has_a_module_of_its_name_and_each_module_a_command():
    named = {name for names in PANELS.values() for name in names}
    shown = {command.name for command in whole().registered_commands} | {
        group.name for group in whole().registered_groups
    }
    assert named == shown
    files = {path.stem for path in (Path(commands.__file__).parent).glob("[a-z]*.py")}
    assert {name.replace("-", "_") for name in named} == files
    for name in named:
        module = importlib.import_module(module_of(name))
        assert hasattr(module, "group") != hasattr(module, "command"), name
