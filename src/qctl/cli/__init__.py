"""The command line."""

from qctl.cli.app import main

__all__ = ["main"]
