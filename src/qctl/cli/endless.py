"""Output that goes on until somebody has had enough: who still reads it, and keys that are pressed meanwhile."""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Generator
from contextlib import contextmanager

from qctl import config


def wait(pause_s: float) -> None:
    """Waits, and notices at once when nobody reads the output any more, also while there is no row to write.

    Raises:
        BrokenPipeError: nobody does.
    """
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)
    if poller.poll(pause_s * 1000):
        raise BrokenPipeError


class Keys:
    """Keys of a terminal, one at a time and without Enter; none where there is no terminal."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    @property
    def are_read(self) -> bool:
        """Whether there is a terminal to read them from."""
        return self._fd is not None

    def pressed(self) -> str | None:
        """The key that was pressed, if one was."""
        if self._fd is None or not select.select([self._fd], [], [], 0)[0]:
            return None
        return os.read(self._fd, 1).decode("ascii", "ignore") or None


@contextmanager
def keys() -> Generator[Keys]:
    """Reads keys while the block runs; the terminal is as before afterwards, also on SIGTERM. Ctrl-C goes on to interrupt."""
    fd = sys.stdin.fileno()
    # A process in the background would be stopped for touching the terminal.
    if not (config.can_ask() and config.stdout_is_terminal()) or os.tcgetpgrp(fd) != os.getpgrp():
        yield Keys(None)
        return
    before = termios.tcgetattr(fd)
    handler = signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        tty.setcbreak(fd)
        yield Keys(fd)
    finally:
        signal.signal(signal.SIGTERM, handler)
        if os.tcgetpgrp(fd) == os.getpgrp():
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
