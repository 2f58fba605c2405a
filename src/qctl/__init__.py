"""qctl: webhook delivery from inside PostgreSQL."""

from typing import Any


def __getattr__(name: str) -> Any:
    """``__version__``, of the installed package; reading its metadata takes longer than most commands' own code."""
    if name != "__version__":
        raise AttributeError(f"module 'qctl' has no attribute '{name}'")
    from importlib.metadata import version

    return version("qctl")
