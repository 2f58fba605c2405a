"""The index by order key of an ordered queue: made and dropped beside the application's writes, in statements of their own."""

from collections.abc import Callable
from typing import TypeVar

import psycopg

from qctl import db
from qctl.db import files
from qctl.errors import ExitCode, QctlError
from qctl.models import OrderIndex

Result = TypeVar("Result")

_LONGEST_WAIT_S = 30


def statement(queue: str, *, wanted: bool) -> str:
    """What makes or drops the index of a queue; it must run by itself, outside a transaction."""
    names = {"index": f"qctl_order_{queue}", "table": f"q_{queue}"}
    return files.statement("order_index_create" if wanted else "order_index_drop", names)


def prepare(connection: db.Connection, queue: str) -> None:
    """Makes the index of a queue that is too large for it to be made under a lock, and is about to be ordered."""
    index = _state(connection, queue)
    if index.state != "valid" and not index.small:
        change(connection, queue, wanted=True)


def change(connection: db.Connection, queue: str, *, wanted: bool) -> None:
    """Makes or drops the index while the queue is in use. An index that an earlier try left unfinished is dropped first.

    Raises:
        QctlError: transactions that began earlier stay open (10); the same call goes on from there.
    """
    state = _state(connection, queue).state
    steps = [False] * (state == "invalid" or (state == "valid" and not wanted)) + [True] * (wanted and state != "valid")
    try:
        for step in steps:
            db.alone(connection, statement(queue, wanted=step).encode(), longest_wait_s=_LONGEST_WAIT_S)
    except QctlError as error:
        if error.code is not ExitCode.BUSY:
            raise
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise QctlError(
                f"the index of queue {queue} was not ready in time: the statement was cancelled",
                detail="behind a pooler it has five minutes",
                hint="the same command with a direct connection to the server",
                code=ExitCode.BUSY,
            ) from error
        raise QctlError(
            f"the index of queue {queue} waits for transactions that are still open",
            detail="no write was held up, and none will be",
            hint=f"when they have ended: qctl set -q {queue} --{'' if wanted else 'no-'}ordered",
            code=ExitCode.BUSY,
        ) from error


def ordering(connection: db.Connection, queue: str, run: Callable[[], Result], talk: Callable[[str], None]) -> Result:
    """Runs what makes a queue ordered; makes its index first where that cannot be done under a lock.

    Args:
        connection: to the database.
        queue: its name.
        run: what is run.
        talk: called with a line for people where it takes longer.
    """
    prepare(connection, queue)
    try:
        return run()
    except QctlError as error:
        if error.code is not ExitCode.BUSY:
            raise
        talk("other transactions use the queue: its index is made beside them")
        change(connection, queue, wanted=True)
        return run()


def _state(connection: db.Connection, queue: str) -> OrderIndex:
    return db.call(connection, OrderIndex, "_order_index", queue=queue)[0]
