"""qctl: webhook delivery from inside PostgreSQL."""

from importlib.metadata import version

__version__ = version("qctl")
