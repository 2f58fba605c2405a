"""How far long work is, told to a person and to nobody else."""

import time
from collections.abc import Callable

from qctl import config
from qctl.cli.guard import say


def once_a_second(line: Callable[[int], str]) -> Callable[[int], None]:
    """A function to call with each new count: at a terminal it says the line of it, at most once a second."""
    told_at = time.monotonic()

    def tell(count: int) -> None:
        nonlocal told_at
        if config.stderr_is_terminal() and time.monotonic() - told_at > 1:
            say(line(count))
            told_at = time.monotonic()

    return tell
