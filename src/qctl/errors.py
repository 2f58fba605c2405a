"""What can go wrong, and the exit code that says which kind it was."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; ``docs/exit-codes.md`` explains them.

    SQL functions raise SQLSTATE ``QC0nn`` where nn is the code.
    """

    DONE = 0
    BUG = 1
    USAGE = 2
    CANNOT_CONNECT = 3
    SERVER_UNFIT = 4
    SCHEMA_VERSION = 5
    NOT_FOUND = 6
    REFUSED = 7
    CHECK_FAILED = 8
    PARTLY_DONE = 9
    BUSY = 10
    INTERRUPTED = 130


class QctlError(Exception):
    """A failure that a user can understand and act on.

    Args:
        message: what happened and where, one sentence, no full stop.
        hint: what to type next.
        code: the exit code.
        detail: more of what is known, shown between message and hint.

    ``sqlstate`` is PostgreSQL's, where the error is from there. ``hint_is_for_another`` says that another role types the hint,
    over its own connection.
    """

    hint_is_for_another = False
    sqlstate: str | None = None

    def __init__(self, message: str, *, hint: str | None = None, code: ExitCode, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail
        self.code = code


class UsageError(QctlError):
    """The command was given something it cannot mean."""

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message, hint=hint, code=ExitCode.USAGE, detail=detail)


class NotFoundError(QctlError):
    """No such queue, message or table."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code=ExitCode.NOT_FOUND)


class CannotConnectError(QctlError):
    """No connection to PostgreSQL, or it was lost."""

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message, hint=hint, code=ExitCode.CANNOT_CONNECT, detail=detail)
