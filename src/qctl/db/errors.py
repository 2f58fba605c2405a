"""PostgreSQL's errors as errors that a user can act on."""

from collections.abc import Generator
from contextlib import contextmanager

import psycopg

from qctl.errors import CannotConnectError, ExitCode, QctlError, UsageError


class SilentServerError(psycopg.OperationalError):
    """The server did not answer a statement in time; the connection was closed.

    Args:
        patience_s: how long it was waited for.
        changes: whether the statement may have changed something, and may still commit.
    """

    def __init__(self, patience_s: float, *, changes: bool) -> None:
        super().__init__(f"no answer within {patience_s:.0f} s")
        self.changes = changes


_HINTS = {
    "42501": "connect as a role that has this right, for example the owner",
    "25006": "connect to the primary; where the host made it read only because its disk is full, add before the command:"
    " PGOPTIONS='-c default_transaction_read_only=off'",
    "55P03": "another session holds a lock on the table; try again later",
    "40P01": "try again",
    "40001": "try again",
}
_CODES = {
    "42501": ExitCode.SERVER_UNFIT,
    "25006": ExitCode.SERVER_UNFIT,
    "55P03": ExitCode.BUSY,
    "40P01": ExitCode.BUSY,
    "40001": ExitCode.BUSY,
    "57014": ExitCode.BUSY,
}
_NOT_INSTALLED = {"3F000", "42P01", "42883", "42703"}


def translated(error: psycopg.Error) -> QctlError:
    """The error that a user can act on, for an error from PostgreSQL."""
    found = _translated(error)
    found.sqlstate = error.sqlstate
    return found


def _translated(error: psycopg.Error) -> QctlError:
    if isinstance(error, SilentServerError):
        return _silent(error)
    state, diag = error.sqlstate, error.diag
    message = diag.message_primary or str(error).strip() or type(error).__name__
    if state and state.startswith("QC"):
        return QctlError(
            message, hint=diag.message_hint, detail=diag.message_detail, code=ExitCode(int(state.removeprefix("QC")))
        )
    if state in _NOT_INSTALLED and "qctl." in message.replace('schema "qctl"', "qctl."):
        return QctlError(
            "qctl is not installed in this database, or its schema is older than this command",
            detail=message,
            hint="qctl install, or qctl upgrade",
            code=ExitCode.SCHEMA_VERSION,
        )
    if state in _NOT_INSTALLED and "pgmq" in message:
        return QctlError(
            "pgmq or this queue's pgmq tables are missing",
            detail=message,
            hint="qctl upgrade --repair",
            code=ExitCode.SERVER_UNFIT,
        )
    if state in _CODES:
        return QctlError(message, hint=diag.message_hint or _HINTS.get(state), code=_CODES[state])
    if isinstance(error, psycopg.OperationalError) and (state is None or state[:2] in ("08", "57", "53")):
        return CannotConnectError(
            "the connection to PostgreSQL was lost", detail=message, hint="run the command again when the server is up"
        )
    if state and state[:2] in ("22", "23"):
        return UsageError(message, hint=diag.message_hint, detail=diag.message_detail)
    return QctlError(message, hint=diag.message_hint, detail=f"SQLSTATE {state}", code=ExitCode.BUG)


def _silent(error: SilentServerError) -> QctlError:
    if error.changes:
        return QctlError(
            "outcome unknown: the server did not answer, and may still do what it was told",
            detail=str(error),
            hint="look before you try again: qctl status; to wait for longer: QCTL_STATEMENT_TIMEOUT=1h",
            code=ExitCode.PARTLY_DONE,
        )
    return CannotConnectError(
        "the server takes connections but does not answer",
        detail=str(error),
        hint="look at the server, or at the pooler or proxy before it; to wait for longer: QCTL_STATEMENT_TIMEOUT=10m",
    )


@contextmanager
def translating() -> Generator[None]:
    """Turns PostgreSQL's errors inside the block into :class:`QctlError`."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error) from error


@contextmanager
def of_one_version() -> Generator[None]:
    """Reports a row whose columns do not fit the model as what it is: a schema of another version."""
    try:
        yield
    except TypeError as error:
        raise QctlError(
            "the schema in the database belongs to another version of qctl",
            detail=str(error).split("(", 1)[-1],
            hint="qctl upgrade, or upgrade the tool: pip install --upgrade qctl",
            code=ExitCode.SCHEMA_VERSION,
        ) from error
