"""The database behind the pages: a few connections, and answers that many tabs share."""

import threading
import time
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, LifoQueue
from typing import Any, TypeVar, cast

from qctl import db
from qctl.errors import CannotConnectError, ExitCode, QctlError

Answer = TypeVar("Answer")

# So long an answer is fresh enough for another tab. A page asks anew every five seconds, so a second tab costs next to nothing.
SHARED_S = 4.0
# One that took long is fresh for so many times as long, within limits: its tabs take a fifth of a connection at most.
_PATIENT = 4
_LONGEST_S = 15.0
# While it is asked for anew, others get the last one if it is no older than this.
_STALE_S = 20.0
_KEPT = 200
_CONNECTIONS = 3
# Questions that may take long leave a connection to the others.
_SLOW = 2
# Of the threads of the server, so that some remain for what needs no database, and for quick questions.
_WAITING = 12
_WAITING_SLOW = 8
_PATIENCE_S = 10.0
# A question of several statements, each of which the server bounds.
_WHOLE_S = 40.0


@dataclass(slots=True)
class _Kept:
    """An answer or the error instead of it, and the lock that lets one thread at a time ask."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: tuple[Any, QctlError | None] = (None, None)
    until: float = float("-inf")
    at: datetime | None = None

    def read(self) -> Any:
        value, error = self.answer
        if error is not None:
            raise error
        return value


class Shared:
    """Asks on a few connections; what was asked a moment ago, or is being asked, is asked once for all who want it."""

    def __init__(self, connect: Callable[[], db.Connection]) -> None:
        self._connect = connect
        self._idle: LifoQueue[db.Connection | None] = LifoQueue()
        for _ in range(_CONNECTIONS):
            self._idle.put(None)
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_WAITING)
        self._waiting_slow = threading.BoundedSemaphore(_WAITING_SLOW)
        self._slow = threading.BoundedSemaphore(_SLOW)
        self._kept: dict[Hashable, _Kept] = {}

    def ask(
        self,
        key: Hashable,
        question: Callable[[db.Connection], Answer],
        *,
        slow: bool = False,
    ) -> Answer:
        """The answer to a question, asked at most once in :data:`SHARED_S` however many want to know.

        Args:
            key: what is asked.
            question: asks it.
            slow: it may take long.

        Raises:
            QctlError: the database cannot be reached (3), too much is asked at once (10), or whatever the question raises.
        """
        kept = self._place(key)
        if not kept.lock.acquire(blocking=False):
            if time.monotonic() <= kept.until + _STALE_S:
                return cast("Answer", kept.read())
            with _at_once(self._waiting_slow), _at_once(self._waiting):
                kept.lock.acquire()
        try:
            if (began := time.monotonic()) >= kept.until:
                try:
                    kept.answer = (self.fresh(question, slow=slow), None)
                except QctlError as error:
                    kept.answer = (None, error)
                kept.at, ended = datetime.now(UTC), time.monotonic()
                failed = kept.answer[1] is not None
                kept.until = ended + (1.0 if failed else min(_LONGEST_S, max(SHARED_S, _PATIENT * (ended - began))))
            return cast("Answer", kept.read())
        finally:
            kept.lock.release()

    def asked_at(self, key: Hashable) -> datetime | None:
        """When a question was answered the last time."""
        kept = self._kept.get(key)
        return kept and kept.at

    def fresh(self, question: Callable[[db.Connection], Answer], *, slow: bool = False) -> Answer:
        """The answer to a question, which is not kept.

        Raises:
            QctlError: as :meth:`ask`.
        """
        if not slow:
            with _at_once(self._waiting):
                return self._run(question, again=True)
        with _at_once(self._waiting_slow), _at_once(self._waiting), _in_time(self._slow):
            return self._run(question, again=True)

    def act(self, check: Callable[[db.Connection], object], deed: Callable[[db.Connection], Answer]) -> Answer:
        """Does something, once, after a look that may be repeated; what was known before is forgotten.

        Raises:
            QctlError: as :meth:`ask`, or whatever the deed raises.
        """
        with _at_once(self._waiting):
            # It also finds out whether the connection still is one, so that the deed need not.
            self._run(check, again=True)
            try:
                return self._run(deed, again=False)
            finally:
                with self._lock:
                    self._kept = {}

    def close(self) -> None:
        """Ends the connections that nothing is asked on."""
        while not self._idle.empty():
            connection = self._idle.get()
            if connection is not None:
                connection.close()

    def _place(self, key: Hashable) -> _Kept:
        with self._lock:
            if key not in self._kept:
                gone = time.monotonic() - _STALE_S
                held = [(at, kept) for at, kept in self._kept.items() if kept.lock.locked() or kept.until > gone]
                self._kept = dict(held[-_KEPT:])
            return self._kept.setdefault(key, _Kept())

    def _run(self, question: Callable[[db.Connection], Answer], *, again: bool) -> Answer:
        try:
            connection = self._idle.get(timeout=_PATIENCE_S)
        except Empty:
            raise _busy() from None
        try:
            if connection is not None and not connection.closed:
                try:
                    return _within(connection, question, changes=not again)
                except CannotConnectError:
                    connection.close()
                    if not again:
                        raise
            # A server that was restarted is asked once more.
            connection = self._connect()
            return _within(connection, question, changes=not again)
        finally:
            self._idle.put(connection)


def _within(connection: db.Connection, question: Callable[[db.Connection], Answer], *, changes: bool) -> Answer:
    ends = time.monotonic() + _WHOLE_S
    connection.until = lambda: ends
    connection.changes = changes
    return question(connection)


@contextmanager
def _at_once(turns: threading.BoundedSemaphore) -> Generator[None]:
    if not turns.acquire(blocking=False):
        raise _busy()
    try:
        yield
    finally:
        turns.release()


@contextmanager
def _in_time(turns: threading.BoundedSemaphore) -> Generator[None]:
    if not turns.acquire(timeout=_PATIENCE_S):
        raise _busy()
    try:
        yield
    finally:
        turns.release()


def _busy() -> QctlError:
    return QctlError(
        "too much is asked of the database at once, so this page has to wait",
        hint="reload it in a moment",
        code=ExitCode.BUSY,
    )
