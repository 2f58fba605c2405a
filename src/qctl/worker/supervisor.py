"""Several worker processes under one parent, to use more than one core: it starts them, passes on a stop, ends with them."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from qctl.errors import ExitCode, QctlError
from qctl.worker.loop import ROUND_WITHIN_S, Worker, wake_pipe
from qctl.worker.signals import stop_on_signals
from qctl.worker.totals import Totals

REPORT_EVERY_S = 0.5

# A child is a copy of this process, made before it has a thread or a connection.
_FORK = multiprocessing.get_context("fork")


@dataclass
class _Child:
    process: BaseProcess
    pipe: Any


class Supervisor:
    """Worker processes that stop together. As soon as one fails, the others are stopped too: a service manager sees the end.

    Args:
        count: how many.
        work: called in each child with its number, from 1, and a function that it hands its worker to before it runs it.
        talk: called with each line for people, in the parent.
    """

    def __init__(
        self, count: int, work: Callable[[int, Callable[[Worker], None]], Totals], talk: Callable[[str], None]
    ) -> None:
        self._count = count
        self._work = work
        self._talk = talk
        self._children: list[_Child] = []
        self._some_ended = False
        self._wake_out, self.wake_fd = wake_pipe()
        # Of each child: when it was last seen going round, on the monotonic clock, and whether it is ready.
        self._beats: Any = _FORK.Array("d", count, lock=False)
        self._ready: Any = _FORK.Array("b", count, lock=False)

    def start(self) -> None:
        """Starts the children; before anything in this process runs in a thread."""
        for number in range(1, self._count + 1):
            mine, theirs = _FORK.Pipe(duplex=False)
            process = _FORK.Process(
                target=self._run_child, args=(number, theirs, os.getpid()), name=f"qctl-worker-{number}"
            )
            process.start()
            theirs.close()
            self._children.append(_Child(process, mine))

    def stop(self) -> None:
        """Asks every child to end as a worker does. Safe in a signal handler."""
        for child in self._children:
            if child.process.pid is not None and child.process.exitcode is None:
                with suppress(ProcessLookupError):
                    os.kill(child.process.pid, signal.SIGTERM)

    def alive(self) -> bool:
        """Whether each child went round lately. For other threads: only the one in :meth:`run` may ask the system for ends."""
        now = time.monotonic()
        return not self._some_ended and all(now - beat < ROUND_WITHIN_S for beat in self._beats)

    def ready(self) -> bool:
        """Whether each child is connected and registered, and not about to end."""
        return self.alive() and all(self._ready)

    def run(self) -> Totals:
        """Waits until every child has ended, and returns the sum of what they did.

        Raises:
            QctlError: what the first child to fail ended with; killed ones end it with 9.
        """
        total, failures = Totals(), list[QctlError]()
        waiting = dict(enumerate(self._children, 1))
        while waiting:
            ended = wait([self._wake_out, *(child.process.sentinel for child in waiting.values())])
            if self._wake_out in ended:
                os.read(self._wake_out, 65536)
            for number, child in list(waiting.items()):
                if child.process.sentinel not in ended:
                    continue
                del waiting[number]
                self._some_ended = True
                child.process.join()
                try:
                    outcome = child.pipe.recv()
                except EOFError:
                    failure = _ended_badly(number, child.process.exitcode)
                else:
                    if isinstance(outcome, Totals):
                        total.include(outcome)
                        continue
                    message, hint, detail, code, sqlstate = outcome
                    failure = QctlError(message, hint=hint, detail=detail, code=code)
                    failure.sqlstate = sqlstate
                if not failures and waiting:
                    self._talk(f"process {number} has ended: {failure.message}; stopping the others")
                    self.stop()
                failures.append(failure)
        if failures:
            raise failures[0]
        return total

    def _run_child(self, number: int, pipe: Any, parent: int) -> None:
        def hold(worker: Worker) -> None:
            def report() -> None:
                while True:
                    # Without its parent nobody would stop it.
                    if os.getppid() != parent:
                        worker.stop()
                    self._beats[number - 1] = time.monotonic() if worker.alive() else 0.0
                    self._ready[number - 1] = worker.ready()
                    time.sleep(REPORT_EVERY_S)

            stop_on_signals(worker.stop, worker.wake_fd)
            threading.Thread(target=report, name="qctl-report", daemon=True).start()

        try:
            pipe.send(self._work(number, hold))
        except QctlError as error:
            # Its parts, for an error with a keyword of its own cannot be pickled.
            pipe.send((error.message, error.hint, error.detail, error.code, error.sqlstate))
        except KeyboardInterrupt:
            pipe.send(("interrupted", None, None, ExitCode.INTERRUPTED))


def _ended_badly(number: int, code: int | None) -> QctlError:
    how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with {code}"
    return QctlError(
        f"worker process {number} {how}",
        hint="start the worker again; messages that it had in flight are sent again when their leases run out",
        code=ExitCode.PARTLY_DONE,
    )
