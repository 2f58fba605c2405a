"""What SIGTERM, SIGINT and SIGHUP do to a worker."""

import signal
from collections.abc import Callable
from typing import Any


def stop_on_signals(stop: Callable[[], None], wake_fd: int) -> None:
    """Ends a worker on SIGTERM, the first Ctrl-C, and SIGHUP unless it is ignored, as under nohup.

    The second Ctrl-C interrupts at once.

    Args:
        stop: asks the worker to end; safe in a signal handler.
        wake_fd: written to when a signal comes, because the thread that gets it may not be the one that waits.
    """

    def handle(_signal: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)
    signal.set_wakeup_fd(wake_fd, warn_on_full_buffer=False)
