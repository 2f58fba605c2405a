"""Help and version."""

import pytest

from processes import ok
from qctl.cli.app import whole


def test_version_and_help():
    from importlib.metadata import version

    assert ok("--version").stdout == f"qctl {version('qctl')}\n"
    assert "Set up" in ok("--help").stdout
    assert ok("-h").stdout == ok("--help").stdout


@pytest.mark.parametrize("command", sorted(c.name for c in whole().registered_commands))
def test_every_command_has_help_with_an_example(command):
    assert "Example: qctl " + command in " ".join(ok(command, "--help").stdout.split())
