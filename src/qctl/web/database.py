"""The database behind the pages: a few connections, and answers that many tabs share."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import LifoQueue
from typing import Any, TypeVar, cast

from qctl import db
from qctl.errors import CannotConnectError, QctlError

Answer = TypeVar("Answer")

# So long an answer is fresh enough for another tab. A page asks anew every five seconds, so a second tab costs next to nothing.
SHARED_S = 4.0
# One that took long is fresh for so many times as long: its tabs keep one connection busy a fifth of the time at most.
_PATIENT = 4
# While it is asked for anew, others get the last one if it is no older than this.
_STALE_S = 20.0
_KEPT = 200
# A slow question, such as the doctor's, leaves the other connections to everybody else.
_CONNECTIONS = 3


@dataclass(slots=True)
class _Kept:
    """An answer or the error instead of it, and the lock that lets one thread at a time ask."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: tuple[Any, QctlError | None] = (None, None)
    until: float = float("-inf")

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
        self._kept: dict[Any, _Kept] = {}

    def ask(self, key: Any, question: Callable[[db.Connection], Answer]) -> Answer:
        """The answer to a question, asked at most once in :data:`SHARED_S` however many want to know.

        Raises:
            QctlError: the database cannot be reached (3), or whatever the question raises.
        """
        kept = self._place(key)
        if not kept.lock.acquire(blocking=time.monotonic() > kept.until + _STALE_S):
            return cast("Answer", kept.read())
        try:
            began = time.monotonic()
            if began >= kept.until:
                try:
                    kept.answer = (self._run(question, again=True), None)
                except QctlError as error:
                    kept.answer = (None, error)
                ended = time.monotonic()
                kept.until = ended + max(SHARED_S, _PATIENT * (ended - began))
            return cast("Answer", kept.read())
        finally:
            kept.lock.release()

    def act(self, deed: Callable[[db.Connection], Answer]) -> Answer:
        """Does something, once; what was known before is forgotten."""
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

    def _place(self, key: Any) -> _Kept:
        with self._lock:
            if key not in self._kept:
                gone = time.monotonic() - _STALE_S
                held = [(at, kept) for at, kept in self._kept.items() if kept.lock.locked() or kept.until > gone]
                self._kept = dict(held[-_KEPT:])
            return self._kept.setdefault(key, _Kept())

    def _run(self, question: Callable[[db.Connection], Answer], *, again: bool) -> Answer:
        connection = self._idle.get()
        try:
            if connection is not None and not connection.closed:
                try:
                    return question(connection)
                except CannotConnectError:
                    connection.close()
                    if not again:
                        raise
            # A server that was restarted is asked once more.
            connection = self._connect()
            return question(connection)
        finally:
            self._idle.put(connection)
