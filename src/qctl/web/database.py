"""The database behind the pages: one connection, and answers that many tabs share."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from qctl import db
from qctl.errors import CannotConnectError

Answer = TypeVar("Answer")

# So long an answer is fresh enough for another tab.
SHARED_S = 2.0
_KEPT = 200


class Shared:
    """Asks one thing at a time on one connection; what was asked a moment ago is answered from memory."""

    def __init__(self, connect: Callable[[], db.Connection]) -> None:
        self._connect = connect
        self._connection: db.Connection | None = None
        self._lock = threading.Lock()
        self._kept: dict[Any, tuple[float, Any]] = {}

    def ask(self, key: Any, question: Callable[[db.Connection], Answer]) -> Answer:
        """The answer to a question, asked at most once in :data:`SHARED_S` however many want to know.

        Raises:
            QctlError: the database cannot be reached (3), or whatever the question raises.
        """
        with self._lock:
            if (kept := self._kept.get(key)) is not None and time.monotonic() - kept[0] < SHARED_S:
                return cast("Answer", kept[1])
            answer = self._run(question)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = (time.monotonic(), answer)
            return answer

    def act(self, deed: Callable[[db.Connection], Answer]) -> Answer:
        """Does something; what was known before is forgotten."""
        with self._lock:
            self._kept.clear()
            return self._run(deed)

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    def _run(self, question: Callable[[db.Connection], Answer]) -> Answer:
        for last in (False, True):
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
            try:
                return question(self._connection)
            except CannotConnectError:
                # A server that was restarted is asked once more.
                self._connection.close()
                if last:
                    raise
        raise AssertionError("unreachable")
